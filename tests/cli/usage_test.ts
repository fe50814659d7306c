import assert from "node:assert/strict";
import { createProgram } from "../../cli/program.ts";
import { kindOf, STAGES } from "../../train/stages/kinds.ts";
import { runProgram } from "./_program.ts";

/** Commands, and the sentence each must end with on standard error, with exit code 2. */
const MISUSES: readonly (readonly [string[], string])[] = [
  [["trian"], "Cannot run this as there is no command trian: did you mean train? See ./run --help"],
  [
    ["train", "--sed", "3"],
    "Cannot run train as it has no option --sed: did you mean --seed? See ./run train --help",
  ],
  [
    ["train", "--steps", "many"],
    "Cannot run train as --steps is many: expected a whole number of at least 1; see ./run train --help",
  ],
  [
    ["train", "--memory-budget", "much"],
    "Cannot run train as --memory-budget is much: expected a size such as 2GiB or 500MB; see ./run train --help",
  ],
  [
    ["train", "--preset", "quik"],
    "Cannot run train as --preset is quik: expected one of default, quick, small, medium, full, did you mean quick? See ./run train --help",
  ],
  [
    ["train", "now"],
    "Cannot run train as it takes options only: found now; see ./run train --help",
  ],
  [
    ["report", "a", "b"],
    "Cannot run report as it takes at most one path: found a, b; see ./run report --help",
  ],
  [["report"], "Cannot run report as <run> is missing; see ./run report --help"],
  [
    ["generate", "--width", "8"],
    "Cannot run generate as --width is 8: expected a whole number of at least 16; see ./run generate --help",
  ],
  [
    ["export", "--onnx", "here"],
    "Cannot run export as --checkpoint is missing: expected <file>; see ./run export --help",
  ],
  [
    ["eval", "--checkpoint"],
    "Cannot run eval as --checkpoint has no value: expected <file>; see ./run eval --help",
  ],
  [
    ["train", "--preset", "full"],
    "Cannot run preset full on the built-in benchmark as it is sized for photographs and days of GPU time: give --source and --target, or leave --preset out",
  ],
  [
    ["train", "--source", "here"],
    "Cannot use this configuration as only one domain has a folder: expected folders of both, or of neither for the built-in benchmark; set data.targetDirectory too (--target)",
  ],
  [
    ["train", "--mpi", "--adapters", "10de:2330,nvidia"],
    "Cannot run train as --adapters is 10de:2330,nvidia: expected PCI addresses such as 0000:65:00.0, or vendor:device such as 10de:2330; see ./run train --help",
  ],
  [
    ["train", "--share-adapter"],
    "Cannot take sharing for several processes as there is one: expected a job over MPI; leave it out, or ask for MPI (--mpi, --share-adapter)",
  ],
  [
    ["doctor", "--collective-timeout", "1m"],
    "Cannot take a timeout for several processes as there is one: expected a job over MPI; leave it out, or ask for MPI (--mpi, --collective-timeout)",
  ],
  [
    ["train", "--mpi", "--dry-run"],
    "Cannot plan a training as one of several processes: expected a plan for one, which all of them need together; leave MPI out (--dry-run, --mpi)",
  ],
  [
    ["train", "--mpi", "libnone.so"],
    "Cannot find libnone.so as no file of that name is in /usr/lib/x86_64-linux-gnu, /usr/lib/aarch64-linux-gnu, /usr/lib64, /usr/lib, /usr/local/lib: expected a library of MPI; give its path",
  ],
  [["eval", "--mpi"], "Cannot run eval as it has no option --mpi; see ./run eval --help"],
];

for (const [args, sentence] of MISUSES) {
  Deno.test(`${args.join(" ")} is refused in one sentence`, async () => {
    const { code, stdout, stderr } = await runProgram(...args);
    assert.equal(stderr, `${sentence}\n`);
    assert.equal(stdout, "");
    assert.equal(code, 2);
  });
}

Deno.test("a config file with an unknown key is refused with the nearest name", async () => {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(path, `{ "stages": { "stage1": { "temprature": 2 } } }`);
    const { code, stderr } = await runProgram("train", "--config", path);
    assert.equal(
      stderr,
      `Cannot use config file ${path} as key stages.stage1.temprature is unknown: did you mean stages.stage1.temperature?\n`,
    );
    assert.equal(code, 2);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("help names every command, and each command's help its options and examples", async () => {
  const { code, stdout } = await runProgram("--help");
  assert.equal(code, 0);
  for (
    const command of [
      "train",
      "ablate",
      "eval",
      "predict",
      "convert",
      "export",
      "generate",
      "doctor",
    ]
  ) {
    assert.match(stdout, new RegExp(`^ {2}${command} `, "m"));
    const help = await runProgram(command, "--help");
    assert.equal(help.code, 0, help.stderr);
    assert.match(help.stdout, /^Examples?:$/m, command);
    assert.match(help.stdout, new RegExp(`./run ${command}`), command);
  }
});

Deno.test("without a command the program shows its help and fails", async () => {
  const { code, stdout } = await runProgram();
  assert.match(stdout, /^Usage: \.\/run COMMAND /);
  assert.equal(code, 2);
});

Deno.test("no line of help is wider than a hundred columns, and usage says what must be there", async () => {
  const commands = createProgram(() => {}).commands.map((command) => command.name());
  for (const command of ["", ...commands]) {
    const { stdout } = await runProgram(...command === "" ? [] : [command], "--help");
    const wide = stdout.split("\n").filter((line) => line.length > 100);
    assert.deepEqual(wide, [], `of ${command}`);
    assert.ok(stdout.startsWith(`Usage: ./run ${command || "COMMAND"}`), command);
    assert.doesNotMatch(
      stdout,
      /default: ["[]|display help/,
      "defaults are as one would type them",
    );
  }
  const usage = async (name: string) => (await runProgram(name, "--help")).stdout.split("\n")[0];
  assert.equal(
    await usage("export"),
    "Usage: ./run export --checkpoint <file> --onnx <file> [options]",
  );
  assert.equal(await usage("report"), "Usage: ./run report <run> [options]");
  assert.equal(await usage("convert"), "Usage: ./run convert <in> [out] [options]");
});

Deno.test("the help of train begins with the five flags of a first day and explains every stage", async () => {
  const { stdout } = await runProgram("train", "--help");
  const [, first] = /^For the first day:\n([^]*?)\n\n/m.exec(stdout) ?? [];
  const flags = [...first.matchAll(/^ {2}(--\S+)/gm)].map(([, flag]) => flag);
  assert.deepEqual(flags, ["--preset", "--source", "--target", "--time", "--out"]);
  assert.ok(stdout.indexOf("For the first day:") < stdout.indexOf("Data:"));
  for (const name of STAGES) {
    assert.ok(stdout.includes(`\n  ${name.padEnd(7)}  ${kindOf(name).summary}\n`), name);
  }
});
