import assert from "node:assert/strict";
import { join } from "node:path";
import { Safetensors } from "../../nn/formats/safetensors.ts";
import { convertWeights } from "../../train/networks/convert.ts";
import { writeCheckpoint } from "../../train/networks/checkpoint.ts";
import { openNetwork } from "../../train/networks/trained_network.ts";
import { openWeights } from "../../train/networks/weights_file.ts";
import { dictionary, tensor, text, torchFile } from "../nn/formats/_torch_files.ts";
import { filledNetwork, SMALL } from "../train/_foreign.ts";
import { dataError, namesIn, withFolder } from "../train/_folder.ts";
import { runProgram } from "./_program.ts";

const OTHER_NAMES = ["road", "sidewalk", "building", "wall", "fence", "pole", "sky", "car"];
const GOLDEN = new URL("../goldens/weights.zip.pth", import.meta.url).pathname;

Deno.test("convert writes every array of a PyTorch file, bit for bit and aligned", () =>
  withFolder(async (folder) => {
    const output = join(folder, "all.safetensors");
    const { code, stdout, stderr } = await runProgram("convert", GOLDEN, output);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `${output} holds 32 arrays, 604 B\n`);
    assert.deepEqual(namesIn(folder), ["all.safetensors"]);
    using source = openWeights(GOLDEN);
    const file = new Safetensors(Deno.readFileSync(output));
    assert.deepEqual([...file.entries.keys()].sort(), [...source.weights.entries.keys()].sort());
    const widths = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, I16: 2 } as Record<
      string,
      number
    >;
    for (const [name, { dtype, shape, offset }] of file.entries) {
      assert.deepEqual({ dtype, shape }, source.weights.entries.get(name), name);
      assert.deepEqual(file.bytes(name), source.weights.bytes(name), name);
      assert.equal(offset % (widths[dtype] ?? 1), 0, `${name} is aligned`);
    }
  }));

Deno.test("convert takes a part of a safetensors file and renames it", () =>
  withFolder((folder) => {
    const [all, part, again] = ["all", "part", "again"].map((name) => join(folder, name));
    {
      using source = openWeights(GOLDEN);
      convertWeights(source, all);
    }
    using source = openWeights(all);
    convertWeights(source, part, { only: "ResNet101.model_state", strip: "0.", prefix: "net." });
    using parts = openWeights(part);
    assert.deepEqual([...parts.weights.entries.keys()].sort(), [
      "net.1.bias",
      "net.1.num_batches_tracked",
      "net.1.running_mean",
      "net.1.running_var",
      "net.1.weight",
      "net.bias",
      "net.weight",
    ]);
    assert.deepEqual(
      parts.weights.floats("net.weight"),
      source.weights.floats("ResNet101.model_state.0.weight"),
    );
    convertWeights(parts, again, { only: "net.", strip: "none" });
    using last = openWeights(again);
    assert.ok(last.weights.entries.has("weight"));
    return Promise.resolve();
  }));

Deno.test("the network of a checkpoint keeps its classes, its shape and its images' size", () =>
  withFolder(async (folder) => {
    const shipped = new URL("../../networks/streets/stage1.safetensors", import.meta.url).pathname;
    const output = join(folder, "network.safetensors");
    const run = await runProgram("convert", shipped, output, "--only", "network");
    assert.equal(run.code, 0, run.stderr);
    const onnx = join(folder, "network.onnx");
    const exported = await runProgram("export", "--checkpoint", output, "--onnx", onnx);
    assert.match(exported.stdout, / to 8 classes, /, exported.stderr);
    using before = openNetwork(shipped);
    for (const flags of [[], ["--prefix", "a."]]) { // a second time, from what the first has written
      const again = join(folder, "again.safetensors");
      assert.equal((await runProgram("convert", output, again, ...flags)).code, 0);
      using file = openNetwork(again);
      assert.deepEqual(file.classes, before.classes);
      assert.deepEqual(file.network, before.network);
      assert.equal(file.config.data.longSide, before.config.data.longSide);
      assert.equal(file.config.data.targetDirectory, null);
    }
    const { metadata } = new Safetensors(Deno.readFileSync(output));
    assert.deepEqual([...metadata.keys()].sort(), ["format", "network"], "no folder, no setting");
    const config = join(folder, "config.json");
    Deno.writeTextFileSync(config, JSON.stringify({ data: { classes: OTHER_NAMES } }));
    using file = openNetwork(output, config);
    assert.deepEqual(file.classes.names, OTHER_NAMES, "what is said wins");
  }));

Deno.test("classes of one's own stay with the network too; a spoilt note is a sentence", () =>
  withFolder(async (folder) => {
    const [path, output] = [join(folder, "a.safetensors"), join(folder, "b.safetensors")];
    const network = { ...SMALL, classes: 2, groups: 4, dilations: [1, 2] };
    using saved = await filledNetwork(network);
    const ownClasses = { palette: [[9, 8, 7], [1, 2, 3]], labelIds: [5, 6], unlabelled: 0 };
    const { classes: _, ...shape } = network;
    const config = { network: shape, data: { longSide: 96, sourceDirectory: "/home/me" } };
    const state = { classes: ["pea", "soil"], ownClasses, config, stage: "stage1", step: 3 };
    const arrays = new Map(
      [...saved.stateDict()].map(([name, array]) => [`network.${name}`, array] as const),
    );
    await writeCheckpoint(path, arrays, state);
    {
      using source = openWeights(path);
      convertWeights(source, output, { only: "network" });
    }
    {
      using file = openNetwork(output);
      const { names, palette, labelIds, unlabelled, isCityscapes } = file.classes;
      assert.deepEqual(names, ["pea", "soil"]);
      assert.deepEqual({ palette, labelIds, unlabelled }, ownClasses);
      assert.deepEqual([isCityscapes, file.config.data.longSide], [false, 96]);
      assert.deepEqual([file.network.groups, file.network.dilations], [4, [1, 2]]);
    }
    const bytes = Deno.readFileSync(output);
    const text = new TextDecoder("latin1").decode(bytes);
    assert.ok(!text.includes("/home/me"));
    const at = text.indexOf("longSide");
    Deno.writeFileSync(output, bytes.with(at, "x".charCodeAt(0)));
    assert.throws(
      () => openNetwork(output),
      dataError(output, "damaged", "convert the checkpoint"),
    );
  }));

Deno.test("convert --list prints names, types and shapes in the order of the file", async () => {
  const { code, stdout } = await runProgram("convert", "--list", GOLDEN, "--only", "types");
  assert.equal(code, 0);
  assert.equal(
    stdout,
    `double     F64   [5]
half       F16   [10]
half_view  F16   [3]
bfloat16   BF16  [10]
int64      I64   [2, 2]
int32      I32   [2]
int16      I16   [2]
int8       I8    [2]
uint8      U8    [2]
bool       BOOL  [2]
10 arrays, 42 numbers
`,
  );
});

Deno.test("what convert cannot do is one sentence, and what was there stays", () =>
  withFolder(async (folder) => {
    const output = join(folder, "w.safetensors");
    Deno.writeTextFileSync(output, "before");
    const evil = join(folder, "evil.pth");
    Deno.writeFileSync(
      evil,
      torchFile(dictionary({ w: tensor({}), x: text("y") }), undefined, { crc: 1 }),
    );
    const cases: [string[], string][] = [
      [[], "Cannot run convert as <in> is missing; see ./run convert --help\n"],
      [
        [GOLDEN],
        `Cannot convert ${GOLDEN} as the output is missing: expected the path of a safetensors file, or --list\n`,
      ],
      [
        ["a", "b", "c"],
        "Cannot run convert as it takes at most 2 paths: found a, b, c; see ./run convert --help\n",
      ],
      [
        [GOLDEN, output, "--only", "network"],
        `Cannot convert ${GOLDEN} as no array is under network.: found ResNet101.model_state.0.weight, ResNet101.model_state.0.bias, ResNet101.model_state.1.weight, ResNet101.model_state.1.bias and 28 more; list the names to see all of them (--list)\n`,
      ],
      [
        [evil, output],
        `Cannot convert ${evil} as its w cannot be read: its a/data/0 does not match its checksum: it was damaged; get the file again\n`,
      ],
    ];
    for (const [args, sentence] of cases) {
      const { code, stderr } = await runProgram("convert", ...args);
      assert.equal(stderr, sentence);
      assert.equal(code, 2);
    }
    assert.equal(Deno.readTextFileSync(output), "before");
    assert.deepEqual(namesIn(folder), ["evil.pth", "w.safetensors"]);
  }));

Deno.test("two arrays that would have one name are refused", () =>
  withFolder((folder) => {
    const path = join(folder, "w.pth");
    Deno.writeFileSync(path, torchFile(dictionary({ "a.w": tensor({}), w: tensor({}) })));
    using file = openWeights(path);
    assert.throws(
      () => convertWeights(file, join(folder, "out"), { strip: "a." }),
      dataError(path, "a.w and w would both be called w"),
    );
    assert.deepEqual(namesIn(folder), ["w.pth"]);
    return Promise.resolve();
  }));

Deno.test("files of no known format are refused by what they hold, not by their name", () =>
  withFolder((folder) => {
    const path = join(folder, "weights.safetensors");
    assert.throws(() => openWeights(path), dataError(path, "it does not exist"));
    Deno.writeTextFileSync(path, "import os");
    assert.throws(() => openWeights(path), dataError(path, "begins like no PyTorch file"));
    Deno.writeFileSync(path, Deno.readFileSync(GOLDEN));
    using file = openWeights(path);
    assert.ok(file.weights.entries.has("types.half"));
    return Promise.resolve();
  }));
