// `deno task gpu:static`: what drivers' compilers say of every kernel of the shared class, and the
// commands of a step of every stage, without a GPU. It fails where a kernel spills, or a figure is
// worse than in the tables beside this file by more than a tenth; `--record` writes those anew.

import {
  DEFAULT_STEPS,
  FAMILIES,
  FULL_STEPS,
  kernelsOf,
  recordedFile,
  recordedTable,
} from "./measure.ts";
import { toMarkdown, toTsv } from "./tables.ts";

const isRecording = Deno.args.includes("--record");
const all: string[] = [];
for (const measurement of [...FAMILIES.map(kernelsOf), DEFAULT_STEPS, FULL_STEPS]) {
  const table = await measurement.measure();
  console.log(`\n${toMarkdown(table)}`);
  const recorded = recordedTable(measurement);
  if (recorded.title !== "" && recorded.title !== table.title) {
    console.log(`\nRecorded: ${recorded.title}. Figures of another compiler are not compared.`);
  }
  const problems = measurement.problems(isRecording ? table : recorded, table);
  all.push(...problems.map((problem) => `${table.title}: ${problem}`));
  if (isRecording) Deno.writeTextFileSync(recordedFile(measurement), toTsv(table));
}
console.log(
  `\n${all.length === 0 ? "Nothing spills, and nothing is worse than recorded." : all.join("\n")}`,
);
if (all.length > 0) Deno.exit(1);
