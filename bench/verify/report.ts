// The report of a verification: one Markdown file that says all by itself.

import { writeFileAtomic } from "../../train/base/atomic_file.ts";
import type { PartResult } from "./driver.ts";
import { row, tableHead } from "./part.ts";

/** What a report is made of. */
export interface Report {
  /** The machine, as rows of a table. */
  readonly machine: readonly (readonly [name: string, value: string])[];
  /** The parts that ended. */
  readonly results: readonly PartResult[];
  /** The names of those that did not run yet. */
  readonly waiting: readonly string[];
}

/** The report as Markdown. */
export function formatReport({ machine, results, waiting }: Report): string {
  const rows = results.map(({ name, status, seconds, line }) =>
    row(name, status, seconds.toFixed(1), line)
  );
  const left = waiting.map((name) => row(name, "not yet run", "", ""));
  const sections = results.flatMap(({ name, markdown, log }) => [
    `## ${name[0]?.toUpperCase()}${name.slice(1)}`,
    "",
    ...(markdown === "" ? ["Nothing was found out."] : [markdown]),
    "",
    ...(log === ""
      ? []
      : ["Its last words:", "", "```text", log.replaceAll("```", "'''"), "```", ""]),
  ]);
  return [
    "# GPU verification",
    "",
    verdictOf(results, waiting),
    "",
    "| part | status | s | what came out |",
    "| --- | --- | --: | --- |",
    ...rows,
    ...left,
    "",
    tableHead("machine", ""),
    ...machine.map(([name, value]) => row(name, value)),
    "",
    ...sections,
    "Made by `deno task gpu:verify`.",
    "",
  ].join("\n");
}

/** The conclusion in a sentence. */
export function verdictOf(results: readonly PartResult[], waiting: readonly string[]): string {
  const named = (status: string) =>
    results.filter((result) => result.status === status).map(({ name }) => name);
  const [wrong, failed, skipped] = ["WRONG", "failed", "skipped"].map(named) as [
    string[],
    string[],
    string[],
  ];
  const rest = waiting.length > 0 ? ` ${waiting.length} parts did not run.` : "";
  const without = skipped.length > 0 ? ` Skipped: ${skipped.join(", ")}.` : "";
  if (wrong.length + failed.length === 0) {
    return waiting.length > 0 ? `So far all is well.${rest}` : `All is well.${without}`;
  }
  const sentences = [
    ...(wrong.length > 0 ? [`**Results are wrong**: ${wrong.join(", ")}.`] : []),
    ...(failed.length > 0 ? [`**Failed**: ${failed.join(", ")}.`] : []),
  ];
  return `${sentences.join(" ")}${without}${rest}`;
}

/** Writes the report, whole or not at all. */
export function writeReport(path: string, report: Report): void {
  writeFileAtomic(path, [new TextEncoder().encode(formatReport(report))]);
}
