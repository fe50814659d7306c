// Runs the parts of the verification one after the other, whatever becomes of them, and writes the
// report after each.

import { join } from "node:path";
import { describeEnd, type Ending } from "./ending.ts";
import type { Facts, Message, PartInput, Status } from "./part.ts";
import { type PartDefinition, SOFTWARE_PATIENCE } from "./parts.ts";
import { TestLog } from "./test_log.ts";

/** What became of a part. */
export interface PartResult {
  readonly name: string;
  readonly status: Status;
  /** What came out, or what went wrong, in one line. */
  readonly line: string;
  readonly seconds: number;
  /** Its section of the report, in Markdown. */
  readonly markdown: string;
  /** The last lines of its standard error, where it did not end well. */
  readonly log: string;
}

/** How parts are run. */
export interface DriverOptions {
  /** The project's root, where parts run. */
  readonly root: string;
  /** Added to the environment of the parts. */
  readonly env: Readonly<Record<string, string>>;
  /** Called before every part. */
  onStart?(name: string, seconds: number): void;
  /** Called after every part, with all results so far. */
  onResult?(results: readonly PartResult[]): void;
}

/** Seconds that a killed process has to be gone. */
const GRACE = 5;
/**
 * Files of tests that run at once: most of their time they wait for Deno to look whether the GPU is
 * done.
 */
const TEST_JOBS = 4;
/** Lines of standard error that are kept. */
const LOG_LINES = 25;

/** Runs all parts. Never throws because of one. */
export async function runParts(
  parts: readonly PartDefinition[],
  options: DriverOptions,
): Promise<PartResult[]> {
  const results: PartResult[] = [];
  const facts: Record<string, number | string | boolean> = {};
  for (const part of parts) {
    const seconds = part.seconds * (facts.software === true ? SOFTWARE_PATIENCE : 1);
    options.onStart?.(part.name, seconds);
    const started = performance.now();
    const outcome = await runOne(part, { seconds, facts }, options).catch((error: Error) => ({
      status: "failed" as const,
      line: `Cannot run it: ${error.message}`,
      markdown: "",
      log: "",
      facts: {},
    }));
    Object.assign(facts, outcome.facts);
    const { status, line, markdown, log } = outcome;
    const spent = (performance.now() - started) / 1000;
    results.push({ name: part.name, status, line, seconds: spent, markdown, log });
    options.onResult?.(results);
  }
  return results;
}

interface Outcome extends Omit<PartResult, "name" | "seconds"> {
  readonly facts: Facts;
}

async function runOne(
  part: PartDefinition,
  input: PartInput,
  { root, env }: DriverOptions,
): Promise<Outcome> {
  const isTests = part.kind === "tests";
  const child = new Deno.Command(Deno.execPath(), {
    args: isTests ? testArguments(root, part, input.facts) : partArguments(part, input),
    cwd: root,
    env: { ...env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", DENO_JOBS: String(TEST_JOBS) },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const said: string[] = [];
  const facts: Record<string, number | string | boolean> = {};
  const tests = new TestLog();
  const log: string[] = [];
  let end: { readonly status: Status; readonly line: string } | undefined;
  const keep = (line: string): void => {
    log.push(line);
    if (log.length > LOG_LINES) log.shift();
  };
  const hear = (line: string): void => {
    const message = messageOf(line);
    if (!message) keep(line);
    else if ("say" in message) said.push(message.say);
    else if ("fact" in message) facts[message.fact] = message.value;
    else end = { status: message.end, line: message.line };
  };
  const streams = Promise.all([
    eachLine(child.stdout, (line) => isTests ? tests.read(line) : hear(line)),
    eachLine(child.stderr, (line) => {
      keep(line);
      if (isTests) tests.read(line);
    }),
  ]);
  const code = await endOf(child, input.seconds);
  await within(streams, 1); // a process of its own may hold them open
  if (isTests) {
    const { status, line, markdown } = tests.conclude(code, input.seconds);
    return { status, line, markdown, log: status === "ok" ? "" : log.join("\n"), facts };
  }
  if (!end) {
    const died = code === 0 ? "it ended without a result" : describeEnd(code, input.seconds);
    end = { status: "failed", line: died };
  } else if (code !== 0) { // after its result: drivers crash and hang when devices are closed, too
    const status = end.status === "WRONG" ? "WRONG" : "failed";
    end = { status, line: `${end.line}; then ${describeEnd(code, input.seconds)}` };
  }
  const isFine = end.status === "ok" || end.status === "skipped";
  return { ...end, markdown: said.join("\n"), log: isFine ? "" : log.join("\n"), facts };
}

function partArguments(part: PartDefinition, input: PartInput): string[] {
  return [
    "run",
    "--no-check",
    "--no-remote",
    "--no-npm",
    "--allow-read",
    "--allow-env=DENO_WEBGPU_BACKEND",
    "--allow-sys",
    ...part.paths,
    JSON.stringify(input),
    ...part.args ?? [],
  ];
}

function testArguments(root: string, part: PartDefinition, { software }: Facts): string[] {
  return [
    "test",
    "--no-check",
    "--no-remote",
    "--no-npm",
    "--parallel",
    "--allow-read",
    "--allow-write",
    "--allow-run",
    "--allow-env=DENO_WEBGPU_BACKEND",
    ...(software === true && part.asGpu ? ["--preload=tests/_as_gpu.ts"] : []),
    ...part.paths.flatMap((path) => [...testFiles(root, path, part.without ?? [])]),
  ];
}

/**
 * The files of tests at a path. They are named one by one, as `--ignore` would read what it leaves
 * out.
 */
function* testFiles(root: string, path: string, without: readonly string[]): Generator<string> {
  if (without.includes(path)) return;
  if (path.endsWith(".ts")) {
    if (path.endsWith("_test.ts")) yield path;
    return;
  }
  const names = [...Deno.readDirSync(join(root, path))]
    .filter(({ name, isDirectory }) => isDirectory || name.endsWith(".ts"))
    .map(({ name }) => name);
  for (const name of names.sort()) yield* testFiles(root, `${path}/${name}`, without);
}

/** Waits for a process as long as it may take, then kills it. */
async function endOf(child: Deno.ChildProcess, seconds: number): Promise<Ending> {
  const ended = child.status.then(({ code, signal }) => signal ?? code);
  const first = await within(ended, seconds);
  if (first !== undefined) return first;
  try {
    child.kill("SIGKILL");
  } catch {
    // It has just ended by itself.
  }
  // A process in the driver's hands may not die; then it is left behind.
  if (await within(ended, GRACE) === undefined) {
    child.unref();
    return "limit, unkillable";
  }
  return "limit";
}

async function eachLine(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  use: (line: string) => void,
): Promise<void> {
  let partial = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (partial + text).split("\n");
    partial = lines.pop() ?? "";
    lines.forEach(use);
  }
  if (partial !== "") use(partial);
}

function messageOf(line: string): Message | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const message = JSON.parse(line) as Message;
    return "say" in message || "fact" in message || "end" in message ? message : undefined;
  } catch {
    return undefined;
  }
}

/** What a promise gives, or undefined where that takes longer. */
async function within<T>(promise: Promise<T>, seconds: number): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), 1000 * seconds);
  });
  const first = await Promise.race([promise, late]);
  clearTimeout(timer);
  return first;
}
