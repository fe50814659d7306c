// The examples, run as their comments say: with the permissions named there, which are all they need.

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { namesIn, withFolder } from "./train/_folder.ts";

const ROOT = new URL("../", import.meta.url);
const EXAMPLES = new URL("examples/", ROOT);
/** Each has a test below; those of the library import nothing else. */
const OF_LIBRARY = ["own_loop.ts", "pixel_classifier.ts"];
const OF_CLONE = ["own_layout.ts", "predict_folder.ts"];
/** Those of tests/earth_test.ts. */
const OF_EARTH = ["earth", "earth.ts"];
/** That of tests/browser/page.ts. */
const OF_BROWSER = ["browser"];
/** That of tests/mpi/train.ts, and what tests/mpi/cluster/ runs, with what comes beside it. */
const OF_MPI = ["kubernetes", "several_gpus.ts", "slurm"];

interface Outcome {
  readonly code: number;
  readonly lines: readonly string[];
  readonly errors: string;
}

function read(name: string): string {
  return Deno.readTextFileSync(new URL(name, EXAMPLES));
}

/** The permissions in the command that the comment at an example's head names. */
function permissionsOf(name: string): string[] {
  const [head] = read(name).split("*/");
  const commands = [...head.matchAll(/^ \* {5}deno run((?: --\S+)*) examples\/(\S+)$/gm)];
  assert.deepEqual(commands.map(([, , file]) => file), [name], "the comment names its command");
  return commands[0][1].split(" ").slice(1);
}

async function deno(args: readonly string[], temporary: string, cwd?: string): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: [...args],
    cwd: cwd ?? ROOT,
    env: { NO_COLOR: "1", TMPDIR: temporary, TEMP: temporary, TMP: temporary },
  }).output();
  const decoder = new TextDecoder();
  const lines = decoder.decode(stdout).trimEnd().split("\n");
  return { code, lines, errors: decoder.decode(stderr) };
}

function run(name: string, permissions: readonly string[], temporary: string): Promise<Outcome> {
  return deno(["run", "--no-prompt", ...permissions, `examples/${name}`], temporary);
}

/** What an example prints, and leaves in the folder for temporary files. */
async function linesOf(name: string, temporary: string): Promise<readonly string[]> {
  const { code, lines, errors } = await run(name, permissionsOf(name), temporary);
  assert.equal(code, 0, errors);
  return lines;
}

/** The numbers behind a word in lines that have it. */
function numbers(lines: readonly string[], before: RegExp): number[] {
  const pattern = new RegExp(`${before.source}(-?[0-9.]+)`);
  return lines.flatMap((line) => pattern.exec(line)?.[1] ?? []).map(Number);
}

function assertFalls(losses: readonly number[], share: number): void {
  assert.ok(losses.length > 2, `only ${losses.length} losses were printed`);
  assert.ok((losses.at(-1) ?? NaN) < losses[0] * share, `the loss went ${losses.join(", ")}`);
}

Deno.test("every example has a test here", () => {
  const found = [...Deno.readDirSync(EXAMPLES)].map(({ name }) => name).sort();
  assert.deepEqual(
    found,
    [...OF_LIBRARY, ...OF_CLONE, ...OF_EARTH, ...OF_BROWSER, ...OF_MPI].sort(),
  );
});

Deno.test("the pixel classifier learns its labels and leaves nothing on the GPU", () =>
  withFolder(async (folder) => {
    const lines = await linesOf("pixel_classifier.ts", folder);
    assertFalls(numbers(lines, /loss /), 0.2);
    assert.deepEqual(lines.slice(-2), ["predicted classes: 0 1 0 1", "bytes left on the GPU: 0"]);
  }));

Deno.test("stages in a loop of one's own learn the source, help the target and free everything", () =>
  withFolder(async (folder) => {
    const lines = await linesOf("own_loop.ts", folder);
    assertFalls(numbers(lines, /^step \d+: source (?=[0-9.]+$)/), 0.5);
    for (const term of [/symmetric /, /structure /, /regulariser /]) {
      assert.equal(numbers(lines, term).filter(Number.isFinite).length, 4, lines.join("\n"));
    }
    const [before, after] = numbers(lines, /^(?=.*target's pixels)/);
    assert.ok(after > before && after <= 100, `${before} % right before stage 1, ${after} % after`);
    assert.equal(lines.at(-1), "bytes left on the GPU: 0");
  }));

Deno.test("a layout of one's own is opened and loaded, and its folder removed", () =>
  withFolder(async (folder) => {
    assert.deepEqual(await linesOf("own_layout.ts", folder), [
      "3 images in the layout fields",
      "north/1: 32×16 pixels, crop 37.5 %, weed 12.5 %",
      "north/2: 32×16 pixels, crop 25 %, weed 25 %",
      "south/1: 32×16 pixels, crop 12.5 %, weed 37.5 %",
    ]);
    assert.deepEqual(namesIn(folder), []);
  }));

Deno.test("a folder is predicted: three pictures of each image where the example says", () =>
  withFolder(async (folder) => {
    const lines = await linesOf("predict_folder.ts", folder);
    const [mIoU] = numbers(lines, /^trained: mIoU /);
    assert.ok(mIoU > 0 && mIoU <= 100, lines.join("\n"));
    const names = lines.flatMap((line) => /^\d\/3 (.*)/.exec(line)?.[1] ?? []);
    assert.equal(names.length, 3, lines.join("\n"));
    const output = lines.at(-1)?.split(" are in ")[1] ?? "";
    assert.ok(output.startsWith(folder), `${output} is no temporary folder`);
    for (const kind of ["label", "colour", "overlay"]) {
      for (const name of names) assert.ok(Deno.statSync(join(output, kind, `${name}.png`)).isFile);
    }
  }));

Deno.test("no example names a permission that it does not need", () =>
  withFolder(async (folder) => {
    for (const name of [...OF_LIBRARY, ...OF_CLONE]) {
      const permissions = permissionsOf(name);
      for (const missing of permissions) {
        const fewer = permissions.filter((permission) => permission !== missing);
        const { code, errors } = await run(name, fewer, folder);
        assert.notEqual(code, 0, `${name} runs without ${missing}`);
        assert.match(
          errors,
          /NotCapable|run again with|without the permission/,
          `${name} without ${missing}`,
        );
      }
    }
  }));

Deno.test("examples move to a folder of one's own with the one change that they name", () =>
  withFolder(async (folder) => {
    const library = new URL("mod.ts", ROOT).href;
    const config = fileURLToPath(new URL("deno.json", ROOT));
    const imports = { "@proda/webgpu": library };
    Deno.writeTextFileSync(join(folder, "deno.json"), JSON.stringify({ imports }));
    for (const name of OF_LIBRARY) Deno.writeTextFileSync(join(folder, name), read(name));
    for (const name of OF_CLONE) {
      const source = read(name).replaceAll('from "../', `from "${ROOT}`);
      Deno.writeTextFileSync(join(folder, name), source);
    }
    for (const args of [["check", ...OF_LIBRARY], ["check", "--config", config, ...OF_CLONE]]) {
      const { code, errors } = await deno(args, folder, folder);
      assert.equal(code, 0, errors);
    }
  }));
