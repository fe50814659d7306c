/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />

// The worker of the page: it alone holds the GPU, so that nothing which computes stops the page.

import { type Gpu, openGpu, streetItem } from "@proda/webgpu";
import type { Calls, Reply, Request } from "../protocol.ts";
import { type Eye, look } from "./look.ts";
import { Networks } from "./networks.ts";
import { shortened, type TrainingSettings } from "./settings.ts";
import { Teacher } from "./teacher.ts";
import { Training } from "./training.ts";

/** The program's preset, which the build puts here. */
declare const QUICK: TrainingSettings;

/** How many streets something takes, so that none waits long for it. */
const STREETS = {
  gpu: { prototypes: 24, heldBack: 24, statistics: 24 },
  software: { prototypes: 8, heldBack: 0, statistics: 8 }, // scored on those that are shown
} as const;

/** What is there once the device is open. */
interface Studio {
  /** The address of the page. */
  readonly base: string;
  readonly gpu: Gpu;
  readonly networks: Networks;
  teacher: Promise<Teacher> | null;
}

let opened: Promise<Studio> | null = null;
let training: { readonly run: Training; readonly over: Promise<void> } | null = null;

const calls: {
  [N in keyof Calls]: (asks: Calls[N]["asks"]) => Promise<Calls[N]["answers"]>;
} = {
  async open({ base }) {
    opened ??= openStudio(base);
    const { adapter } = (await opened).gpu;
    return { name: adapter.description, isSoftware: adapter.isFallback };
  },
  street(name) {
    const { seed, width, height } = QUICK.data.streets;
    const { image, label } = streetItem({ ...name, seed, width, height });
    if (!label) throw new TypeError("Streets have labels");
    return Promise.resolve({ image, label: label.data });
  },
  async look({ network, image, label }) {
    return await look(await eyeOf(network), { image, label });
  },
  async teach(asks) {
    const here = await studio();
    const { gpu, networks } = here;
    const { prototypes } = streetsOn(gpu);
    here.teacher ??= networks.load("warmup").then((eye) => Teacher.make(eye, QUICK, prototypes));
    return await (await here.teacher).teach(asks);
  },
  async openNetwork({ bytes, name }) {
    return await (await studio()).networks.open(bytes, name);
  },
  async train({ seed, length }) {
    const { gpu, networks } = await studio();
    await stopTraining();
    const start = await networks.get("source");
    const preset = { ...QUICK, seed };
    const { heldBack, statistics: statisticsImages } = streetsOn(gpu);
    const settings = length === "full" ? preset : shortened(preset);
    const options = { heldBack, statisticsImages, every: length === "full" ? 10 : 2 };
    const run = new Training(start, settings, options, (event) => post({ event }));
    const over = run.run().catch((error) => {
      post({ event: { kind: "failed", message: messageOf(error) } });
    });
    training = { run, over };
    return null;
  },
  pause(isPaused) {
    training?.run.pause(isPaused);
    return Promise.resolve(null);
  },
  async reset() {
    await stopTraining();
    return null;
  },
};

async function openStudio(base: string): Promise<Studio> {
  const gpu = await openGpu();
  return { base, gpu, networks: new Networks(gpu, base), teacher: null };
}

async function eyeOf(name: Calls["look"]["asks"]["network"]): Promise<Eye> {
  if (name !== "here") return await (await studio()).networks.get(name);
  if (!training) {
    throw new Error("Nothing has been adapted here yet: start a training first.");
  }
  return training.run.eye;
}

async function stopTraining(): Promise<void> {
  const ended = training;
  training = null;
  ended?.run.stop();
  await ended?.over;
  ended?.run[Symbol.dispose]();
}

function streetsOn({ adapter }: Gpu): typeof STREETS["gpu" | "software"] {
  return STREETS[adapter.isFallback ? "software" : "gpu"];
}

/** What is open; a GPU that was lost or has failed is opened anew, without what was on it. */
async function studio(): Promise<Studio> {
  if (!opened) throw new Error("The GPU is not open yet.");
  const { gpu, base } = await opened;
  try {
    gpu.flush();
  } catch {
    gpu.close();
    training = null;
    opened = openStudio(base);
  }
  return await opened;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Sends a reply; the memory of its pictures goes with it. */
function post(reply: Reply): void {
  self.postMessage(reply, [...new Set(buffersIn(reply))]);
}

function buffersIn(value: unknown): ArrayBuffer[] {
  if (value instanceof Uint8Array) return [value.buffer as ArrayBuffer];
  if (value === null || typeof value !== "object") return [];
  return Object.values(value).flatMap(buffersIn);
}

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  const { id, name, argument } = data;
  try {
    const call = calls[name] as (argument: unknown) => Promise<unknown>;
    post({ id, answer: await call(argument) });
  } catch (error) {
    post({ id, error: messageOf(error) });
  }
};
