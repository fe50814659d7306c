// Where libraries of MPI are looked for. What they export is tested by `test:mpi`.

import assert from "node:assert/strict";
import { join } from "node:path";
import { CollectiveError } from "../../../train/parallel/collective.ts";
import { findLibrary } from "../../../train/parallel/library.ts";
import { withFolder } from "../_folder.ts";

function refuses(name: string | undefined, folders: string[], message: RegExp): void {
  assert.throws(() => findLibrary(name, folders), (error) => {
    assert.ok(error instanceof CollectiveError, String(error));
    assert.match(error.message, message);
    return true;
  });
}

Deno.test("a library is found by its path, by its name in a usual folder, or by a usual name", () =>
  withFolder((folder) => {
    const folders = [join(folder, "none"), folder];
    refuses(
      undefined,
      folders,
      /^Cannot find MPI as none of libmpi_abi.so.0, .* is in .*: expected/,
    );
    refuses("libmine.so", folders, /^Cannot find libmine\.so as no file of that name is in /);
    Deno.mkdirSync(join(folder, "libmpi.so.40")); // a folder is no library
    refuses(undefined, folders, /^Cannot find MPI/);
    for (const name of ["libmpich.so.12", "libmine.so"]) {
      Deno.writeTextFileSync(join(folder, name), "");
    }
    assert.equal(findLibrary(undefined, folders), join(folder, "libmpich.so.12"));
    Deno.writeTextFileSync(join(folder, "libmpi.so.12"), "");
    assert.equal(
      findLibrary(undefined, folders),
      join(folder, "libmpi.so.12"),
      "the first of them",
    );
    assert.equal(findLibrary("libmine.so", folders), join(folder, "libmine.so"));
    assert.equal(findLibrary("/opt/mpi/lib/libmpi.so", folders), "/opt/mpi/lib/libmpi.so");
    assert.equal(findLibrary("lib/libmpi.so", folders), join(Deno.cwd(), "lib/libmpi.so"));
  }));
