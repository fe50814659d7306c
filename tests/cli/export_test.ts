// Weights from elsewhere through the program: export, predict, and a training that starts from them.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { resolveConfig } from "../../cli/train_config.ts";
import { deepLabGraph } from "../../nn/deeplab_onnx.ts";
import { stateOf } from "../../nn/formats/weights.ts";
import { CLASSES } from "../../train/data/classes.ts";
import { mergeConfig, presetConfig } from "../../train/config/config.ts";
import { writeOnnx } from "../../train/networks/export_onnx.ts";
import { runTraining } from "../../train/run/run.ts";
import { openNetwork } from "../../train/networks/trained_network.ts";
import { openWeights } from "../../train/networks/weights_file.ts";
import { testGpu } from "../_device.ts";
import { join as joinBytes } from "../nn/formats/_torch_files.ts";
import { filledNetwork, SMALL, stateValues, writeTorch } from "../train/_foreign.ts";
import { dataError, namesIn, withFolder } from "../train/_folder.ts";
import { imagePng } from "../train/_png.ts";
import { runProgram } from "./_program.ts";
import { assertSame } from "../_same.ts";

Deno.test("export writes the graph of a PyTorch file, with the names of the classes", () =>
  withFolder(async (folder) => {
    const [weights, onnx] = [join(folder, "w.pth"), join(folder, "w.onnx")];
    using network = await filledNetwork();
    await writeTorch(weights, network);
    const { code, stdout, stderr } = await runProgram(
      "export",
      "--checkpoint",
      weights,
      "--onnx",
      onnx,
      "--size",
      "40x64",
    );
    assert.equal(code, 0, stderr);
    assert.match(stdout, /w\.onnx takes images of 40×64 to 19 classes, [\d.]+ KiB\n$/);
    assert.deepEqual(namesIn(folder), ["w.onnx", "w.pth"]);
    using source = openNetwork(weights);
    const graph = deepLabGraph({ ...source, size: { height: 40, width: 64 } });
    const metadata = {
      classes: JSON.stringify(CLASSES.map(({ name }) => name)),
      longSide: "2200",
      stage: "weights",
    };
    const expected = joinBytes(Array.from(graph.parts(metadata), (part) => part.slice()));
    assert.ok(Buffer.from(expected).equals(Deno.readFileSync(onnx)), "the file is the graph");
  }));

Deno.test("an export that cannot be made leaves what was there", () =>
  withFolder(async (folder) => {
    const [weights, onnx] = [join(folder, "w.pth"), join(folder, "w.onnx")];
    Deno.writeTextFileSync(onnx, "before");
    using network = await filledNetwork();
    await writeTorch(weights, network, { only: /^(?!layer2\.0\.bn1\.bias)/ });
    assert.throws(
      () => writeOnnx(weights, onnx),
      dataError(weights, "layer2.0.bn1.bias is missing"),
    );
    assert.equal(Deno.readTextFileSync(onnx), "before");
    const { code, stderr } = await runProgram(
      "export",
      "--checkpoint",
      "a",
      "--onnx",
      "b",
      "--size",
      "big",
    );
    assert.equal(code, 2);
    assert.equal(
      stderr,
      "Cannot run export as --size is big: expected height and width in pixels, such as 512x1024; see ./run export --help\n",
    );
  }));

Deno.test("predict takes a PyTorch file; eval asks for the images that it does not name", () =>
  withFolder(async (folder) => {
    const [weights, image, config] = ["w.pkl", "photo.png", "config.json"].map((name) =>
      join(folder, name)
    );
    using network = await filledNetwork();
    await writeTorch(weights, network, { prefix: "ResNet101.model_state." });
    Deno.writeFileSync(image, imagePng(90, 24, 16));
    Deno.writeTextFileSync(config, JSON.stringify({ data: { longSide: 48 } }));
    const output = join(folder, "out");
    const flags = ["--checkpoint", weights, "--config", config];
    const predicted = await runProgram("predict", ...flags, "--input", image, "--output", output);
    assert.equal(predicted.code, 0, predicted.stderr);
    assert.deepEqual(namesIn(join(output, "label")), ["photo.png"]);
    const measured = await runProgram("eval", ...flags);
    assert.equal(measured.code, 2);
    assert.match(measured.stderr, /^Cannot evaluate weights from elsewhere .* give --target\n$/);
  }));

Deno.test("--init and --student-init name the weights that a run and its students start from", async () => {
  const now = new Date();
  const config = await resolveConfig({ init: "a.pth", studentInit: "simclr.pth" }, now);
  assert.equal(config.init, "a.pth");
  assert.equal(config.stages.selfsup.weights, "simclr.pth");
  assert.ok(!config.pipeline.includes("selfsup"));
  for (const { studentStart, featureNorm } of [config.stages.stage2, config.stages.stage3]) {
    assert.deepEqual([studentStart, featureNorm], ["self-supervised", true]);
  }
  const official = await resolveConfig({ studentInit: "b", recipe: "official" }, now);
  assert.equal(official.stages.stage3.studentStart, "teacher");
  const named = await resolveConfig({ studentInit: "b", stages: ["stage1", "stage2"] }, now);
  assert.deepEqual(named.pipeline, ["stage1", "stage2"]);
  await assert.rejects(
    resolveConfig({ studentInit: "b", stages: ["selfsup"] }, now),
    dataError("Cannot run selfsup as stages.selfsup.weights is b"),
  );
});

Deno.test("a run starts from a file, and its student from another in the place of stage selfsup", () =>
  withFolder(async (folder) => {
    const [start, student] = ["start.pth", "student.pth"].map((name) => join(folder, name));
    const shape = { ...SMALL, classes: 8, headChannels: 8, groups: 4, dilations: [1, 2] };
    using network = await filledNetwork(shape);
    await writeTorch(start, network, { prefix: "module." });
    const values = await stateValues(network);
    const changed = network.stateDict().get("layer1.0.conv1.weight");
    assert.ok(changed);
    changed.gpu.write(changed, new Float32Array(changed.size).fill(0.25));
    await writeTorch(student, network, { prefix: "resnet.", only: /^(conv1|bn1|layer[1-4])\./ });
    const { classes: _, ...own } = shape;
    // Steps too small to move a weight show what it started as.
    const still = { steps: 1, scheduleSteps: 1, rampSteps: 0, learningRate: 1e-30, weightDecay: 0 };
    const streets = {
      directory: join(folder, "streets"),
      width: 64,
      height: 32,
      sourceTrain: 2,
      targetTrain: 2,
      targetVal: 1,
      sourceVal: 1,
      targetChoose: 1,
    };
    const config = mergeConfig(presetConfig("quick"), {
      from: "the test",
      values: {
        out: join(folder, "run"),
        pipeline: ["source", "stage2"],
        init: start,
        network: own,
        data: {
          batch: 2,
          cropHeight: 32,
          cropWidth: 48,
          longSide: 64,
          heldOut: { share: 0 },
          streets,
        },
        stages: {
          source: still,
          selfsup: { weights: student },
          stage2: { ...still, studentStart: "self-supervised", featureNorm: true },
        },
      },
    });
    const observer = { message() {}, stageStart() {}, step() {}, evaluation() {}, stageEnd() {} };
    await runTraining(config, await testGpu(), observer, new AbortController().signal);
    const saved = (stage: string, name: string) => {
      using file = openWeights(join(config.out, "checkpoints", `${stage}.safetensors`));
      return stateOf(file.weights, "network.").get(name)?.floats().slice();
    };
    for (const name of ["conv1.weight", "layer1.0.conv1.weight", "layer5.head.1.weight"]) {
      assertSame(saved("source", name), values.get(name), name);
    }
    assertSame(saved("stage2", "conv1.weight"), values.get("conv1.weight"));
    assert.ok(saved("stage2", "layer1.0.conv1.weight")?.every((value) => value === 0.25));
    assert.notDeepEqual(
      saved("stage2", "layer5.head.1.weight"),
      values.get("layer5.head.1.weight"),
    );
  }));
