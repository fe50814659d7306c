/**
 * Records the run that the page shows in browsers without WebGPU, as small pictures beside `run.json`: the
 * same functions as the worker's, on the adapter of this machine.
 *
 *     deno run --config deno.json --allow-read --allow-write=examples/browser/recorded \
 *       examples/browser/record.ts
 *
 * @module
 */
import { networkFromBytes, type NetworkInMemory, openGpu, streetItem } from "@proda/webgpu";
import { PRESETS } from "../../train/config/presets.ts";
import { encodeImage, encodeLabel } from "../../train/images/image.ts";
import { STREETS } from "./page/classes.ts";
import { type ClassMap, type Look, SHIPPED, type Street } from "./protocol.ts";
import type { Recorded } from "./recording.ts";
import { look } from "./worker/look.ts";
import type { TrainingSettings } from "./worker/settings.ts";
import { Teacher } from "./worker/teacher.ts";
import { SHOWN, Training } from "./worker/training.ts";

/** Streets of the split `val` to look at. */
const INDICES = [35, 36, 55, 65] as const;
/** The confidence of so many pixels each way is one of the picture. */
const CONFIDENCE_CELL = 8;

const settings: TrainingSettings = PRESETS.quick;
const { seed, width, height } = settings.data.streets;
const folder = new URL("recorded/", import.meta.url);
const gpu = await openGpu();

const opened = new Map<string, NetworkInMemory>();
for (const name of SHIPPED) opened.set(name, await open(name));
const teacher = await Teacher.make(await open("warmup"), settings, 24);
await Deno.remove(folder, { recursive: true }).catch(() => {}); // of another length, say
await Deno.mkdir(folder, { recursive: true });
const streets: Recorded["streets"][number][] = [];
for (const index of INDICES) streets.push(await recordStreet(index));
const training = await recordTraining();
const recorded: Recorded = {
  adapter: gpu.adapter.description,
  drawing: { seed, width, height },
  streets,
  training,
};
await Deno.writeTextFile(new URL("run.json", folder), JSON.stringify(recorded, rounded) + "\n");
gpu.close();

async function open(name: string): Promise<NetworkInMemory> {
  const file = new URL(`../../networks/streets/${name}.safetensors`, import.meta.url);
  return await networkFromBytes(gpu, await Deno.readFile(file), name);
}

function street(index: number): Street {
  const item = streetItem({ seed, domain: "target", split: "val", index, width, height });
  if (!item.label) throw new TypeError("Streets have labels");
  return { image: item.image, label: item.label.data };
}

/** A street through every network, and as stage 1 would label it. */
async function recordStreet(index: number): Promise<Recorded["streets"][number]> {
  const { image, label } = street(index);
  const name = `street${index}`;
  const scores: Record<string, NonNullable<Look["scores"]>> = {};
  for (const [network, eye] of opened) {
    const seen = await look(eye, { image, label });
    await writeMap(`${name}_${network}`, {
      ...seen.shown,
      labels: seen.labels,
      confidence: shrunk(seen.shown, width, height),
      width,
      height,
    });
    if (seen.scores) scores[network] = seen.scores;
  }
  const { accuracy, prototypeImages, ...maps } = await teacher.teach({ image, label });
  for (const [kind, map] of Object.entries(maps)) {
    await writeMap(`${name}_${kind}`, map);
  }
  if (!accuracy) throw new TypeError("Streets have labels");
  return { index, scores, accuracy, prototypeImages };
}

/** A training from its first step to its last. */
async function recordTraining(): Promise<Recorded["training"]> {
  const events: Recorded["training"]["events"][number][] = [];
  const pictures: { readonly file: string; readonly parts: readonly Uint8Array[] }[] = [];
  let begin: Recorded["training"]["begin"] | undefined;
  const start = opened.get("source") as NetworkInMemory;
  const options = { heldBack: 24, statisticsImages: 24, every: 10 };
  using training = new Training(start, settings, options, (event) => {
    switch (event.kind) {
      case "begin": {
        const { shown: _, kind: __, ...rest } = event;
        begin = rest;
        break;
      }
      case "snapshot": {
        const { shown, labels, ...snapshot } = event.snapshot;
        const file = `after${snapshot.steps}`;
        const parts = shown.map((map) => atSize(map, width, height));
        if (labels) parts.push(labels.examplePseudo, labels.exampleDenoised);
        pictures.push({ file, parts });
        const scores = labels && { pseudo: labels.pseudo, denoised: labels.denoised };
        events.push({ kind: "snapshot", snapshot: { ...snapshot, labels: scores, file } });
        break;
      }
      case "failed":
        throw new Error(event.message);
      default:
        events.push(event);
    }
  });
  await training.run();
  if (!begin) throw new Error("The training has not begun");
  for (const { file, parts } of pictures) {
    await writeClasses(file, { labels: joined(parts), width, height: height * parts.length });
  }
  return { begin, shownStreets: SHOWN, events };
}

/** Classes in their colours, and their confidence in a smaller picture. */
async function writeMap(name: string, map: ClassMap): Promise<void> {
  await writeClasses(name, map);
  const size = {
    width: Math.max(1, Math.floor(map.width / CONFIDENCE_CELL)),
    height: Math.max(1, Math.floor(map.height / CONFIDENCE_CELL)),
  };
  const data = shrunk(map, size.width, size.height);
  await write(`${name}_confidence.png`, encodeLabel({ data, ...size }));
}

async function writeClasses(
  name: string,
  { labels, width, height }: Pick<ClassMap, "labels" | "width" | "height">,
): Promise<void> {
  const data = new Uint8Array(3 * labels.length);
  labels.forEach((label, at) => data.set(STREETS.palette[label] ?? [0, 0, 0], 3 * at));
  await write(`${name}.png`, encodeImage({ data, width, height }));
}

/** The mean confidence of cells. */
function shrunk(map: ClassMap, width: number, height: number): Uint8Array<ArrayBuffer> {
  const sums = new Float64Array(width * height);
  const counts = new Float64Array(width * height);
  map.confidence.forEach((value, at) => {
    const x = Math.floor((at % map.width) * width / map.width);
    const y = Math.floor(Math.floor(at / map.width) * height / map.height);
    sums[y * width + x] += value;
    counts[y * width + x]++;
  });
  return Uint8Array.from(sums, (sum, at) => Math.round(sum / counts[at]));
}

/** Classes at another size, each from the middle of its cell. */
function atSize(map: ClassMap, width: number, height: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: width * height }, (_, at) => {
    const x = Math.floor((at % width + 0.5) * map.width / width);
    const y = Math.floor((Math.floor(at / width) + 0.5) * map.height / height);
    return map.labels[y * map.width + x];
  });
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

async function write(name: string, bytes: Uint8Array): Promise<void> {
  await Deno.writeFile(new URL(name, folder), bytes);
}

/** Numbers of a record, to six digits. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === "number" ? Number(value.toPrecision(6)) : value;
}
