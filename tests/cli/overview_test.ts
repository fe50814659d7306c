// ./run itself: what it says of the project, and that a question about a task starts none.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import configuration from "../../deno.json" with { type: "json" };
import { createProgram } from "../../cli/program.ts";
import { isTask } from "../../cli/tasks.ts";
import { runProgram, runProgramIn } from "./_program.ts";

const RUN = fileURLToPath(new URL("../../run", import.meta.url));
const ignore = Deno.build.os === "windows";

async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command("/bin/sh", {
    args: [RUN, ...args],
    // A driver is named, so that no test installs one.
    env: { VK_DRIVER_FILES: "any.json", NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test({
  name: "./run, ./run help and ./run --help print the overview of the project",
  ignore,
  fn: async () => {
    const bare = await run();
    assert.deepEqual([bare.code, bare.stderr], [2, ""]);
    assert.match(
      bare.stdout,
      /^Usage: \.\/run COMMAND \[options\]\n\nAdapts semantic segmentation /,
    );
    assert.match(bare.stdout, /^ {2}\.\/run train --preset quick {2,}\S/m);
    assert.match(bare.stdout, /^ {2}test {2,}run the tests/m);
    assert.match(bare.stdout, /^For development, [^]*\bok\n$/m);
    assert.doesNotMatch(bare.stdout, /deno (run|task)/, "nothing of what it is made with");
    for (const ask of ["help", "--help", "-h"]) {
      const { code, stdout, stderr } = await run(ask);
      assert.deepEqual([code, stdout, stderr], [0, bare.stdout, ""], ask);
    }
    assert.match((await run("help", "train")).stdout, /^Usage: \.\/run train /);
  },
});

Deno.test({
  name: "./run with a name that is neither command nor task is refused in one sentence",
  ignore,
  fn: async () => {
    const { code, stdout, stderr } = await run("chekc");
    assert.deepEqual(
      [code, stdout, stderr],
      [2, "", "Cannot run this as there is no command chekc; see ./run --help\n"],
    );
  },
});

Deno.test({
  name: "a question about a task is answered and starts nothing",
  ignore,
  fn: async () => {
    for (const ask of [["networks", "--help"], ["help", "networks"], ["networks", "40", "-h"]]) {
      const { code, stdout, stderr } = await run(...ask);
      assert.deepEqual([code, stderr], [0, ""], ask.join(" "));
      assert.match(stdout, /^Usage: \.\/run networks \[arguments\.\.\.\]\n\nTrain the networks /);
      assert.ok(stdout.includes(configuration.tasks.networks.command));
    }
  },
});

Deno.test("tasks are for deno task but where they are asked about; one answers for itself", () => {
  const program = createProgram(() => {});
  const tasks = (...args: string[]) => isTask(args, program);
  assert.ok(
    tasks("test", "tests/cli") && tasks("check") && tasks("doctor") && tasks("train", "-h"),
  );
  assert.ok(tasks("gpu:verify", "--help"));
  assert.ok(!tasks() && !tasks("help") && !tasks("--help") && !tasks("chekc"));
  assert.ok(!tasks("test", "--help") && !tasks("earth", "-h"));
});

Deno.test("every task is in the overview, with the commands", async () => {
  const { stdout } = await runProgram("--help");
  for (const name of Object.keys(configuration.tasks)) {
    assert.match(stdout, new RegExp(`(^| )${name}( {2,}|,|$)`, "m"), name);
  }
  const { code, stderr } = await runProgramIn({ permissions: ["--allow-read"] }, "networks");
  assert.equal(code, 2);
  assert.match(stderr, /^Cannot run networks as it is a task of deno\.json: /);
});
