// How errors end a command: by their class, never by their text.

import assert from "node:assert/strict";
import { join } from "node:path";
import { createProgram, describeFailure } from "../../cli/program.ts";
import { GpuError, MemoryError } from "../../kernels/runtime/errors.ts";
import { DataError } from "../../train/base/data_error.ts";
import { DivergenceError } from "../../train/run/divergence_error.ts";
import { TrainingError } from "../../train/run/training_error.ts";
import { withFolder } from "../train/_folder.ts";
import { runProgram } from "./_program.ts";

function commandCalled(name: string) {
  const command = createProgram(() => {}).commands.find((command) => command.name() === name);
  assert.ok(command, name);
  return command;
}

for (
  const [Kind, exitCode] of [
    [DataError, 2],
    [GpuError, 2],
    [MemoryError, 2],
    [TrainingError, 3],
    [DivergenceError, 3],
  ] as const
) {
  Deno.test(`a ${Kind.name} is one sentence and exit code ${exitCode}`, () => {
    const error = new Kind("The dog ate it; get another dog");
    assert.deepEqual(describeFailure(error), { exitCode, shown: error.message });
    assert.equal(error.name, Kind.name);
  });
}

Deno.test("an error while tidying up does not hide the one before it", () => {
  const first = new DataError("The disk is full; make room");
  const later = new SuppressedError(new Error("close failed"), first);
  assert.deepEqual(describeFailure(later), { exitCode: 2, shown: first.message });
});

Deno.test("any other error is a bug, whatever its words: its stack and exit code 1", () => {
  for (const Kind of [Error, TypeError, RangeError, Deno.errors.NotFound]) {
    const error = new Kind("Cannot run conv2d as input channels must equal weight channels");
    assert.deepEqual(describeFailure(error), { exitCode: 1, shown: error });
  }
  assert.deepEqual(describeFailure("text"), { exitCode: 1, shown: "text" });
});

/** A training of one tiny network, with some keys and flags changed. */
async function train(values: Record<string, unknown>, ...flags: string[]) {
  let outcome: Awaited<ReturnType<typeof runProgram>> | undefined;
  await withFolder(async (folder) => {
    const config = join(folder, "tiny.json");
    const streets = {
      directory: join(folder, "streets"),
      ...{
        sourceTrain: 1,
        targetTrain: 1,
        targetVal: 1,
        sourceVal: 1,
        targetChoose: 1,
        width: 32,
        height: 16,
      },
    };
    const content = {
      pipeline: ["source"],
      out: join(folder, "run"),
      network: { blocks: [1, 1, 1, 1], width: 4, headChannels: 8, groups: 2, dilations: [1] },
      data: { heldOut: { share: 0 }, batch: 1, cropHeight: 16, cropWidth: 16, streets },
      ...values,
    };
    Deno.writeTextFileSync(config, JSON.stringify(content));
    outcome = await runProgram("train", "--config", config, "--steps", "3", ...flags);
  });
  assert.ok(outcome);
  return outcome;
}

Deno.test("a training that diverges ends with a sentence", async () => {
  const { code, stderr } = await train({ stages: { source: { learningRate: 1e30 } } });
  assert.match(stderr, /^Training diverged in stage source at step 1 as the loss [^\n]+\n$/);
  assert.equal(code, 3);
});

Deno.test("a training that does not fit its memory ends with a sentence and the flag", async () => {
  const { code, stderr } = await train({}, "--memory-budget", "100k");
  assert.match(stderr, /^Cannot allocate [^\n]+ raise `memoryBudget` \(--memory-budget\)\n$/);
  assert.equal(code, 2);
});

Deno.test("a checkpoint beside a configuration file is refused with the flag", async () => {
  const { code, stderr } = await runProgram(
    "export",
    ...["--checkpoint", "no.safetensors", "--onnx", "no.onnx", "--config", "no.json"],
  );
  assert.match(stderr, /^Cannot use checkpoint no\.safetensors [^\n]+ out \(--config\)\n$/);
  assert.equal(code, 2);
});

Deno.test("an error's options get the flags that the failed command has for them", () => {
  const error = new DataError("Choose other classes", { options: ["data.classes", "configPath"] });
  const shown = (name: string) => describeFailure(error, commandCalled(name)).shown;
  assert.equal(shown("train"), "Choose other classes (--classes, --config)");
  assert.equal(shown("eval"), "Choose other classes (--config)");
  assert.equal(shown("doctor"), "Choose other classes");
  assert.equal(describeFailure(error).shown, "Choose other classes");
});

Deno.test("a cause is kept beside the options", () => {
  const cause = new Error("why");
  const { options } = new DataError("text", { cause });
  assert.deepEqual(options, []);
  assert.equal(new DataError("text", { cause, options: ["seed"] }).cause, cause);
  assert.equal("cause" in new DataError("text"), false);
});
