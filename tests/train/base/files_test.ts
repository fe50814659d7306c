// Files that are whole whenever one looks, and what the operating system refuses, in sentences.

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AtomicFile, checkWritable, writeFileAtomic } from "../../../train/base/atomic_file.ts";
import { describeFailure, onDisk } from "../../../train/base/refusal.ts";
import { copyFile, makeFolder, removeAll } from "../../../train/base/folders.ts";
import { fileCallsOf } from "../_file_calls.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("a file is on the disk before it takes its name, and its name before the next is begun", () =>
  withFolder(async (folder) => {
    const path = join(folder, "a.txt");
    const partial = `${path}.partial`;
    const calls = await fileCallsOf(() => writeFileAtomic(path, [bytes("ne"), bytes("w")]));
    assert.deepEqual(calls, [
      `write ${partial}`,
      `write ${partial}`,
      `sync ${partial}`,
      `rename ${partial} to ${path}`,
      `sync ${folder}`,
    ]);
  }));

/** Runs code in a process of its own that may do anything: devices need that. */
async function runAlone(code: string): Promise<string> {
  const base = new URL("../../../train/base/", import.meta.url);
  const child = new Deno.Command("deno", {
    args: ["eval", code.replaceAll("BASE/", base.href)],
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  });
  const { stdout, stderr } = await child.output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

Deno.test("a full disk is said, and leaves what was there before", () =>
  withFolder(async (folder) => {
    const [path, copy] = [join(folder, "a.txt"), join(folder, "b.txt")];
    Deno.writeTextFileSync(path, "old");
    for (const name of [path, copy]) Deno.symlinkSync("/dev/full", `${name}.partial`);
    const said = await runAlone(`
      import { writeFileAtomic } from "BASE/atomic_file.ts";
      import { copyFile } from "BASE/folders.ts";
      const [path, copy] = ${JSON.stringify([path, copy])};
      for (const act of [() => writeFileAtomic(path, [new Uint8Array(9)]), () => copyFile(path, copy)]) {
        try { act(); } catch (error) { console.log(error.name, error.message); }
      }`);
    assert.equal(
      said,
      `DataError Cannot write ${path} as the disk is full; make room or choose another folder\n` +
        `DataError Cannot copy ${path} to ${copy} as the disk is full; make room or choose another ` +
        "folder\n",
    );
    assert.equal(Deno.readTextFileSync(path), "old");
    assert.deepEqual(namesIn(folder), ["a.txt"]);
  }));

Deno.test("neither a folder nor a device is replaced by a file", () =>
  withFolder((folder) => {
    const path = join(folder, "pictures");
    makeFolder(path);
    for (const action of [() => writeFileAtomic(path, []), () => checkWritable(path)]) {
      assert.throws(action, dataError(path, "it is a folder", "choose another path"));
    }
    const device = join(folder, "null");
    Deno.symlinkSync("/dev/null", device);
    assert.throws(() => new AtomicFile(device), dataError(device, "it is a device or a pipe"));
    assert.deepEqual(namesIn(folder), ["null", "pictures"]);
  }));

Deno.test("looking whether a file can be written leaves it as it is", () =>
  withFolder((folder) => {
    const path = join(folder, "a.txt");
    checkWritable(path);
    assert.deepEqual(namesIn(folder), []);
    Deno.writeTextFileSync(path, "mine");
    checkWritable(path);
    assert.equal(Deno.readTextFileSync(path), "mine");
    assert.throws(() => checkWritable(join(path, "b")), dataError("a part of its path is not a"));
  }));

Deno.test("a copy is whole or not there", () =>
  withFolder((folder) => {
    const [from, to] = [join(folder, "a"), join(folder, "b")];
    Deno.writeTextFileSync(from, "all of it");
    copyFile(from, to);
    assert.equal(Deno.readTextFileSync(to), "all of it");
    assert.throws(
      () => copyFile(join(folder, "c"), to),
      dataError(`c to ${to} as it does not exist`),
    );
    assert.equal(Deno.readTextFileSync(to), "all of it");
    assert.deepEqual(namesIn(folder), ["a", "b"]);
  }));

Deno.test("a file in the place of a folder, and what is no folder, are said", () =>
  withFolder((folder) => {
    const path = join(folder, "a");
    Deno.writeTextFileSync(path, "mine");
    assert.throws(() => makeFolder(path), dataError(path, "a file of that name is in the way"));
    assert.throws(
      () => makeFolder(join(path, "b")),
      dataError("a part of its path is not a folder"),
    );
    removeAll(join(folder, "nothing"));
    assert.equal(Deno.readTextFileSync(path), "mine");
  }));

Deno.test("what the operating system says is quoted without what only a programmer reads", () => {
  const error = new Error("File too large (os error 27): writefile 'a.txt'");
  assert.equal(describeFailure(error), 'the system says "File too large"');
  assert.throws(() =>
    onDisk("write a.txt", "make room", () => {
      throw error;
    }), dataError('Cannot write a.txt as the system says "File too large"; make room'));
});

Deno.test("a mistake of the program is no fault of a file", () => {
  const mistake = new TypeError("x is not a function");
  assert.throws(() =>
    onDisk("write a.txt", "make room", () => {
      throw mistake;
    }), (error) => error === mistake);
});

Deno.test("train/ changes files through its base alone, where refusals become sentences", () => {
  // These turn what they are refused into sentences of their own.
  const own = ["base/", "streets/write.ts", "run/run_folder.ts"];
  const root = fileURLToPath(new URL("../../../train/", import.meta.url));
  const changes =
    /\bDeno\.(mkdir|write(Text)?File|rename|remove|copyFile|truncate|makeTemp\w+|create|chmod|symlink|link)(Sync)?\(/;
  const visit = (folder: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(join(root, folder))) {
      const path = `${folder}${name}`;
      if (own.some((start) => path.startsWith(start))) continue;
      if (isDirectory) visit(`${path}/`);
      else assert.doesNotMatch(Deno.readTextFileSync(join(root, path)), changes, path);
    }
  };
  visit("");
});
