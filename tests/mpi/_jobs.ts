// Jobs that tests start, by the launcher of each family.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Engine } from "./_engines.ts";

const ROOT = new URL("../../", import.meta.url);

/** How a job has ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts ranks, each by its own command line where there are several. */
export function startJob(
  { launcher, flags }: Pick<Engine, "launcher" | "flags">,
  ranks: readonly (readonly string[])[],
  env: Record<string, string> = {},
): Deno.ChildProcess {
  const commands = ranks.flatMap((command, at) => [...at > 0 ? [":"] : [], "-n", "1", ...command]);
  return new Deno.Command(launcher, {
    args: [...flags, ...commands],
    cwd: ROOT,
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1", ...env },
  }).spawn();
}

/** Runs ranks to their end. */
export async function runJob(...job: Parameters<typeof startJob>): Promise<Ended> {
  return await endOf(startJob(...job));
}

/** The end of a job. */
export async function endOf(job: Deno.ChildProcess): Promise<Ended> {
  const { code, stdout, stderr } = await job.output();
  const [text, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, stdout: text.replaceAll("\r", ""), stderr: errors };
}

/** The command line of `./run` with arguments. */
export function program(...args: string[]): string[] {
  return [fileURLToPath(new URL("run", ROOT)), ...args];
}

/** The object that the first rank has printed. */
export function printed<T>({ stdout, stderr }: Ended): T {
  const [from, to] = [stdout.indexOf("{"), stdout.lastIndexOf("}")];
  assert.ok(from >= 0 && to > from, stderr);
  return JSON.parse(stdout.slice(from, to + 1));
}
