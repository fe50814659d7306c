// What a stage and a layout of one's own cost: files and lines are added to a copy of the code as DEV.md
// says, and nothing else is touched. The copy must pass the type check, and train.

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { encodeImage, encodeLabel } from "../train/images/image.ts";
import type { RunResult } from "../train/run/run_folder.ts";
import { runProgramIn } from "./cli/_program.ts";
import { withFolder } from "./train/_folder.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const CODE = ["cli", "kernels", "nn", "train", "mod.ts", "deno.json", "deno.lock"];

/** All that a stage takes: this file in a folder of its own, and the lines below. */
const STAGE = `// A toy stage: source labels, and target predictions whose classes do not empty.

import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { scale } from "../../../nn/functional/elementwise.ts";
import { input, scope } from "../../../nn/tape.ts";
import { weighed } from "../common/accumulate.ts";
import type { SourceBatch } from "../common/batch.ts";
import type { StageKind } from "../common/kind.ts";
import { regulariser } from "../common/losses.ts";
import type { StageSettings } from "../common/settings.ts";
import { sourcePass } from "../common/source_pass.ts";
import { NetworkTrainer, type OptimiserOptions, type Stage } from "../common/stage.ts";

const SETTINGS = {
  /** Weight of the regulariser. */
  priorWeight: "weight",
} as const;

interface PriorBatch {
  readonly source: SourceBatch;
  readonly target: { readonly images: GpuArray };
}

class Prior implements Stage<PriorBatch> {
  readonly #trainer: NetworkTrainer;

  constructor(readonly network: DeepLab, readonly options: Options, readonly name: string) {
    this.#trainer = new NetworkTrainer(network, options);
  }

  learningRate(step: number): number {
    return this.#trainer.learningRate(step);
  }

  step({ source, target }: PriorBatch, step: number): Record<string, GpuArray> {
    this.#trainer.begin(step);
    const losses = {
      ...this.#trainer.learn(source, sourcePass(this.#trainer)),
      ...this.#trainer.learn(target, {
        learn: ({ images }, shares) =>
          scope(() => {
            const { logits } = this.network.forward(input(images));
            const loss = weighed(regulariser(logits), shares.images);
            this.#trainer.backward(scale(loss, this.options.priorWeight));
            return { prior: loss.array.retain() };
          }),
      }),
    };
    this.#trainer.update(step);
    return losses;
  }

  state(): Map<string, AnyArray> {
    return this.#trainer.state();
  }

  [Symbol.dispose](): void {
    this.#trainer[Symbol.dispose]();
  }
}

type Options = OptimiserOptions & { readonly priorWeight: number };

export const prior = {
  summary: "a toy",
  settings: SETTINGS,
  role: "adaptation",
  hasStrongViews: false,
  prepare: ({ network, options, name }) => ({
    stage: new Prior(network, options, name),
    async nextBatch(batches) {
      const source = await batches.nextSource();
      const { images } = await batches.nextTarget();
      return { source, target: { images } };
    },
  }),
  plan: ({ network, options, name, batches }) => ({
    stage: new Prior(network, options, name),
    makeBatch: () => ({ source: batches.source(), target: { images: batches.images() } }),
  }),
} as const satisfies StageKind<StageSettings & { priorWeight: number }, PriorBatch>;
`;

/** All that a layout takes. */
const LAYOUT = `/** Pictures and masks beside one another, as a toy has them. */
export const TOY = {
  name: "toy",
  help: "pictures/NAME.png, masks/NAME.png (label ids)",
  image: { top: "pictures", endings: [".png"] },
  label: { top: "masks", codes: { ".png": PLAIN_CODE } },
  splits: "none",
  depth: [0, 0],
  classes: cityscapesClasses(["road", "sky"]),
} as const satisfies LayoutRecord;

`;

/** The lines that are added to files there are: before \`mark\`, which must occur once. */
const LINES = [
  {
    file: "train/stages/kinds.ts",
    mark: 'import { selfSupervised } from "./self_supervised/kind.ts";\n',
    lines: 'import { prior } from "./prior/kind.ts";\n',
  },
  { file: "train/stages/kinds.ts", mark: "  stage1: denoise,\n", lines: "  prior,\n" },
  {
    file: "train/config/presets.ts",
    mark: "    oracle: { ...short(700, 0.1), balance: 0 },\n",
    lines: "    prior: { ...short(100, 0.02), priorWeight: 0.1 },\n",
  },
  {
    file: "train/data/layouts.ts",
    mark: "/**\n * The layouts that have a name in configurations",
    lines: LAYOUT,
  },
  {
    file: "train/data/layouts.ts",
    mark: "FOLDER] as const;",
    lines: "TOY, ",
  },
];

/** Images whose upper half is sky and whose lower half is road, in the toy's layout. */
function writeToyData(root: string): void {
  for (const folder of ["pictures", "masks"]) {
    Deno.mkdirSync(join(root, folder), { recursive: true });
  }
  const size = { width: 48, height: 32 };
  const plane = size.width * size.height;
  for (const index of [0, 1, 2]) {
    const isSky = (pixel: number) => pixel < plane * (0.4 + 0.1 * index);
    const image = Uint8Array.from(
      { length: 3 * plane },
      (_, at) => (isSky(Math.floor(at / 3)) ? 200 : 60) + 7 * (at % 5),
    );
    const label = Uint8Array.from({ length: plane }, (_, pixel) => isSky(pixel) ? 23 : 7);
    Deno.writeFileSync(
      join(root, "pictures", `${index}.png`),
      encodeImage({ data: image, ...size }),
    );
    Deno.writeFileSync(join(root, "masks", `${index}.png`), encodeLabel({ data: label, ...size }));
  }
}

Deno.test("a stage is one folder, one line of the registry and one of the presets; a layout is one record", () =>
  withFolder(async (folder) => {
    const copy = join(folder, "code");
    for (const name of CODE) cpSync(join(ROOT, name), join(copy, name), { recursive: true });
    Deno.mkdirSync(join(copy, "train", "stages", "prior"));
    Deno.writeTextFileSync(join(copy, "train", "stages", "prior", "kind.ts"), STAGE);
    for (const { file, mark, lines } of LINES) {
      const text = Deno.readTextFileSync(join(copy, file));
      assert.equal(text.split(mark).length, 2, `${file} has one ${JSON.stringify(mark)}`);
      Deno.writeTextFileSync(join(copy, file), text.replace(mark, () => lines + mark));
    }
    const checked = await new Deno.Command("deno", {
      args: ["check", "--config", join(copy, "deno.json"), join(copy, "cli", "main.ts")],
      env: { NO_COLOR: "1" },
      stderr: "piped",
    }).output();
    assert.ok(checked.success, new TextDecoder().decode(checked.stderr));

    const data = join(folder, "data");
    writeToyData(data);
    const config = join(folder, "config.json");
    Deno.writeTextFileSync(
      config,
      JSON.stringify({
        logEvery: 1,
        network: { width: 2, headChannels: 4, groups: 2, dilations: [1] },
        data: { heldOut: { share: 0 }, batch: 2, cropHeight: 24, cropWidth: 32, longSide: 48 },
        memory: { accumulate: 2 },
        stages: { prior: { priorWeight: 0.3 } },
      }),
    );
    const place = { root: pathToFileURL(`${copy}/`) };
    const where = ["--source", data, "--source-layout", "toy", "--target", data];
    const flags = [...where, "--target-layout", "toy", "--config", config, "--steps", "2"];
    const train = (...more: string[]) => runProgramIn(place, "train", ...flags, ...more);

    const out = join(folder, "run");
    const trained = await train("--stages", "source,prior", "--out", out, "--json");
    assert.equal(trained.code, 0, trained.stderr);
    const { stages }: RunResult = JSON.parse(trained.stdout);
    assert.deepEqual(stages.map(({ name }) => name), ["source", "prior"]);
    assert.deepEqual(Object.keys(stages[1].classIoU), ["road", "sky"]);
    const records = Deno.readTextFileSync(join(out, "metrics.jsonl")).trim().split("\n")
      .map((line) => JSON.parse(line)).filter(({ stage }) => stage === "prior");
    assert.ok(records.length === 2 && records.every(({ prior }) => prior > 0));

    const planned = await train("--stages", "prior", "--out", join(folder, "none"), "--dry-run");
    assert.equal(planned.code, 0, planned.stderr);
    assert.match(planned.stdout, /^prior +2 /m);
    const help = await runProgramIn(place, "train", "--help");
    for (const name of ["prior", "toy"]) {
      assert.ok(help.stdout.includes(name), `--help has ${name}`);
    }
    const wrong = await train("--stages", "prio");
    assert.match(wrong.stderr, /did you mean prior\?/);
  }));
