// `deno task gpu:verify [--report FILE]`: all that can be found out about a GPU in a few minutes,
// as one Markdown file. Exits with 0 if every part is ok or skipped, else with 1.

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { runParts } from "./driver.ts";
import { describeMachine, missingEnvironment } from "./machine.ts";
import { PARTS } from "./parts.ts";
import { verdictOf, writeReport } from "./report.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const USAGE = `Usage: deno task gpu:verify [--report FILE] [PART ...]

Checks and measures the GPU, and writes what it finds to FILE (gpu-report.md), in Markdown, after
every part. Works without a network; before Deno has ever had one:
deno task --node-modules-dir=manual gpu:verify. Where the machine lacks libvulkan.so.1, it may lie
beside the project. Exits with 0 if every part is ok or skipped.
Parts: ${PARTS.map(({ name }) => `"${name}"`).join(", ")}; all unless given.`;

interface Options {
  readonly report: string;
  readonly parts: readonly string[];
}

function parse(args: readonly string[]): Options | null {
  let report = "gpu-report.md";
  const parts: string[] = [];
  const rest = [...args];
  for (let next = rest.shift(); next !== undefined; next = rest.shift()) {
    if (next === "--report") {
      const path = rest.shift();
      if (path === undefined) return null;
      report = path;
    } else if (next.startsWith("--report=")) report = next.slice("--report=".length);
    else if (PARTS.some(({ name }) => name === next)) parts.push(next);
    else return null;
  }
  return { report, parts };
}

const options = parse(Deno.args);
if (!options) {
  console.log(USAGE);
  Deno.exit(Deno.args.includes("--help") ? 0 : 2);
}
// The adapter and its roofs are what the other parts go by.
const chosen = options.parts.length === 0
  ? PARTS
  : PARTS.filter(({ name }, index) => index < 2 || options.parts.includes(name));
const report = resolve(options.report);
const env = missingEnvironment(ROOT);
const added = Object.entries(env).map(([name, value]) => `${name}=${value}`).join(" ");
const machine = [
  ...describeMachine(ROOT),
  ["environment", added === "" ? "as it was" : `added ${added}`] as const,
];
const names = chosen.map(({ name }) => name);
try {
  writeReport(report, { machine, results: [], waiting: names }); // before minutes of work
} catch (error) {
  console.error((error as Error).message);
  Deno.exit(2);
}
const results = await runParts(chosen, {
  root: ROOT,
  env,
  onStart: (name, seconds) => console.log(`${name} (at most ${seconds} s) …`),
  onResult(results) {
    const { status, seconds, line } = results.at(-1)!;
    console.log(`  ${status}, ${seconds.toFixed(1)} s: ${line}`);
    try {
      writeReport(report, { machine, results, waiting: names.slice(results.length) });
    } catch (error) {
      console.error((error as Error).message); // a full disk may be emptied meanwhile
    }
  },
});
console.log(`\n${verdictOf(results, [])}\nThe report is ${report}`);
Deno.exit(results.every(({ status }) => status === "ok" || status === "skipped") ? 0 : 1);
