// What the process of a part tells the driver: a line of JSON on standard output for each thing it
// finds, as soon as it is found, so that nothing is lost when the process is.

import { type Gpu, type GpuOptions, openGpu } from "../../kernels/runtime/mod.ts";

/** How a part ended. */
export type Status = "ok" | "WRONG" | "failed" | "skipped";

/** What earlier parts found out about the adapter. */
export type Facts = Readonly<Record<string, number | string | boolean>>;

/** One line of a part's output. */
export type Message =
  | { readonly say: string }
  | { readonly fact: string; readonly value: number | string | boolean }
  | { readonly end: Status; readonly line: string };

/** What the driver gives a part, as its first argument in JSON. */
export interface PartInput {
  /** Seconds that it has. */
  readonly seconds: number;
  /** What earlier parts found out. */
  readonly facts: Facts;
}

/** Seconds that a part leaves of its time, to end by itself. */
const MARGIN = 3;
/** The least that is left of a short time. */
const LEAST_SHARE = 0.7;

/** A part at work. */
export class Part {
  readonly #facts: Facts;
  readonly #deadline: number;
  readonly #wrong: string[] = [];
  readonly #skipped: string[] = [];

  /** Starts the clock. */
  constructor({ seconds, facts }: PartInput) {
    this.#facts = facts;
    this.#deadline = performance.now() + 1000 * Math.max(seconds - MARGIN, LEAST_SHARE * seconds);
  }

  /** Seconds left. */
  get left(): number {
    return (this.#deadline - performance.now()) / 1000;
  }

  /** A number that an earlier part measured; NaN where it did not. */
  number(fact: string): number {
    const value = this.#facts[fact];
    return typeof value === "number" ? value : NaN;
  }

  /** Whether the adapter is the processor behind a graphics interface. */
  get isSoftware(): boolean {
    return this.#facts.software === true;
  }

  /** Adds Markdown to the report. */
  say(...lines: string[]): void {
    send({ say: lines.join("\n") });
  }

  /** Tells later parts something. */
  fact(fact: string, value: number | string | boolean): void {
    send({ fact, value });
  }

  /** Notes that a result is wrong, which is what the part then ends as. */
  wrong(what: string): void {
    this.#wrong.push(what);
  }

  /** Notes what was not done, and why. */
  skip(what: string): void {
    this.#skipped.push(what);
  }

  /** Ends the part with its status and one line; wrong results go before it. */
  conclude(line: string, status: Status = "ok"): void {
    const [wrong] = this.#wrong;
    const more = this.#wrong.length > 1 ? ` (and ${this.#wrong.length - 1} more)` : "";
    const without = this.#skipped.length > 0 ? `without ${this.#skipped.join(", ")}` : "";
    if (wrong !== undefined) send({ end: "WRONG", line: `${wrong}${more}` });
    else send({ end: status, line: [line, without].filter(Boolean).join("; ") });
  }
}

function send(message: Message): void {
  console.log(JSON.stringify(message));
}

/** Runs a part; what it throws is how it ends. */
export async function runPart(body: (part: Part) => Promise<void>): Promise<never> {
  const input = JSON.parse(Deno.args[0] ?? '{"seconds": 600, "facts": {}}') as PartInput;
  try {
    await body(new Part(input));
  } catch (error) {
    const { name, message, stack } = error as Error;
    console.error(stack ?? String(error));
    send({ end: "failed", line: `${name}: ${(message ?? String(error)).split("\n")[0]}` });
  }
  Deno.exit(0);
}

/** Opens the GPU with timestamps where the adapter has them. */
export async function openTimedGpu(options: GpuOptions = {}): Promise<Gpu> {
  try {
    return await openGpu({ ...options, profile: true });
  } catch {
    return await openGpu(options);
  }
}

/**
 * Milliseconds of each of `rounds` runs: those of its kernels by timestamps; where there are none,
 * of as many runs as take a while, by the clock. One run where it is late.
 */
export async function timesOf(
  gpu: Gpu,
  run: () => void,
  rounds: number,
  isLate: () => boolean = () => false,
): Promise<number[]> {
  const times: number[] = [];
  const { profiler } = gpu;
  await gpu.finish();
  await profiler?.report();
  let repeats = 1;
  while (times.length < rounds && !(times.length > 0 && isLate())) {
    const before = performance.now();
    for (let count = 0; count < (profiler ? 1 : repeats); count++) run();
    await gpu.finish();
    const wall = performance.now() - before;
    const kernels = await profiler?.report();
    if (kernels) times.push(kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0));
    else if (wall < 100 && repeats < 1024) repeats *= 4; // so short a time is the host's
    else times.push(wall / repeats);
  }
  return times;
}

/** The one in the middle. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
}

/** A row of a Markdown table. */
export function row(...cells: (string | number)[]): string {
  return `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |`;
}

/** Columns of text beside the first. */
const TEXT = /^(|result|losses|measured)$/;

/** The head of a Markdown table: the first column is text, most others are numbers. */
export function tableHead(...names: string[]): string {
  return `${row(...names)}\n|${
    names.map((name, index) => index === 0 || TEXT.test(name) ? " --- |" : " --: |").join("")
  }`;
}

/** `0.0123`, `12.3` or `12,345`; `–` for what is no finite number. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(3);
}

/** 10^12 operations a second. */
export function teraflops(flops: number, milliseconds: number): number {
  return milliseconds > 0 ? flops / milliseconds / 1e9 : NaN;
}

/** A share as `41 %`. */
export function percent(share: number): string {
  return Number.isFinite(share) ? `${Math.round(100 * share)} %` : "–";
}
