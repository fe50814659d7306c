// What `gpu:verify` promises of its driver: parts end alone, whatever they do, and the report is
// there. Parts are programs of a line or two here.

import assert from "node:assert/strict";
import { join } from "node:path";
import { runParts } from "../bench/verify/driver.ts";
import { commitOf, missingEnvironment } from "../bench/verify/machine.ts";
import { type PartDefinition, PARTS } from "../bench/verify/parts.ts";
import { writeReport } from "../bench/verify/report.ts";
import { TestLog } from "../bench/verify/test_log.ts";
import { withFolder } from "./train/_folder.ts";

const print = (message: unknown) => `console.log(${JSON.stringify(JSON.stringify(message))});`;
const forever = "setInterval(() => {}, 1000); await new Promise(() => {});";

/** What parts do, and what they end as. */
const PROGRAMS: Readonly<Record<string, [program: string, status: string, line: RegExp]>> = {
  "is well": [
    print({ fact: "rate", value: 7 }) + print({ end: "ok", line: "fine" }),
    "ok",
    /^fine$/,
  ],
  "hears of it": [
    `const { facts } = JSON.parse(Deno.args[0]);
     console.log(JSON.stringify({ end: "ok", line: "rate " + facts.rate }));`,
    "ok",
    /^rate 7$/,
  ],
  hangs: [print({ say: "found before" }) + forever, "failed", /stopped after its 1 s/],
  aborts: [print({ say: "half a table" }) + "Deno.exit(134);", "failed", /aborted/],
  "crashes at its end": [
    print({ end: "ok", line: "fine" }) + "Deno.exit(139);",
    "failed",
    /^fine; then its process crashed/,
  ],
  throws: ['throw new Error("of its own");', "failed", /ended with code 1/],
  "says nothing": ["", "failed", /without a result/],
  "is wrong": [print({ end: "WRONG", line: "2 + 2 | 5" }), "WRONG", /2 \+ 2/],
  "is skipped": [print({ end: "skipped", line: "no time" }), "skipped", /no time/],
};

Deno.test("parts that hang, abort or throw end alone, and the report has them all", async () => {
  await withFolder(async (folder) => {
    const parts = Object.entries(PROGRAMS).map(([name, [program]]): PartDefinition => {
      const file = `${name.replaceAll(" ", "_")}.ts`;
      Deno.writeTextFileSync(join(folder, file), program);
      return { name, seconds: name === "hangs" ? 1 : 60, kind: "part", paths: [file] };
    });
    const path = join(folder, "report.md");
    const sizes: number[] = [];
    const results = await runParts(parts, {
      root: folder,
      env: {},
      onResult(results) {
        sizes.push(results.length);
        const waiting = parts.slice(results.length).map(({ name }) => name);
        writeReport(path, { machine: [["date", "today"]], results, waiting });
        const report = Deno.readTextFileSync(path);
        for (const { name } of parts) assert.ok(report.includes(`| ${name} |`), name);
        assert.equal(report.split("not yet run").length - 1, waiting.length);
      },
    });
    assert.deepEqual(sizes, parts.map((_, index) => index + 1));
    for (const { name, status, line } of results) {
      const [, expected, pattern] = PROGRAMS[name]!;
      assert.equal(status, expected, `${name}: ${line}`);
      assert.match(line, pattern);
    }
    const report = Deno.readTextFileSync(path);
    assert.match(report, /^\*\*Results are wrong\*\*: is wrong\. \*\*Failed\*\*: hangs, aborts, /m);
    assert.match(report, /Skipped: is skipped\./);
    for (const text of ["found before", "half a table", "of its own", "2 + 2 \\| 5"]) {
      assert.ok(report.includes(text), text);
    }
  });
});

Deno.test("a part that cannot even be started is a failed part", async () => {
  const part: PartDefinition = { name: "tests", seconds: 9, kind: "tests", paths: ["not_there"] };
  const [result] = await runParts([part], { root: Deno.cwd(), env: {} });
  assert.equal(result?.status, "failed");
  assert.match(result!.line, /not_there/);
});

Deno.test("the output of deno test is counted as far as it comes", () => {
  const log = new TestLog();
  for (
    const line of [
      "./tests/a_test.ts => adds ... ok (3ms)",
      "./tests/a_test.ts => adds ... twice ... FAILED (3ms)",
      "./tests/a_test.ts => waits ... ignored (0ms)",
      " ERRORS ",
      "adds ... twice => ./tests/a_test.ts:3:6",
      "error: AssertionError: 2 is not 3",
    ]
  ) log.read(line);
  const whole = log.conclude(1, 10);
  assert.equal(whole.status, "WRONG");
  assert.equal(whole.line, "1 passed, 1 failed, 1 ignored");
  assert.match(whole.markdown, /adds \.\.\. twice: `AssertionError: 2 is not 3`/);
  const cut = new TestLog();
  cut.read("adds ... ok (3ms)");
  assert.deepEqual([cut.conclude("limit", 10).status, cut.conclude(0, 10).status], [
    "failed",
    "ok",
  ]);
  assert.match(
    cut.conclude("limit", 10).line,
    /1 passed, 0 failed, 0 ignored; stopped after its 10 s/,
  );
  assert.equal(new TestLog().conclude(0, 10).status, "failed", "no test at all is no success");
  const closed = new TestLog();
  closed.read("./tests/a_test.ts => adds ... FAILED (3ms)");
  closed.read("adds => ./tests/a_test.ts:3:6");
  closed.read("error: GpuError: Cannot open a GPU as WebGPU found no adapter");
  assert.equal(
    closed.conclude(1, 10).status,
    "failed",
    "nothing was computed, so nothing is wrong",
  );
  const broken = new TestLog();
  broken.read("error: Module not found");
  assert.match(broken.conclude(1, 10).line, /code 1: Module not found/);
});

Deno.test("all parts take less than eight minutes, and are there", () => {
  const seconds = PARTS.reduce((sum, part) => sum + part.seconds, 0);
  assert.ok(seconds < 480, `they may take ${seconds} s`);
  assert.equal(new Set(PARTS.map(({ name }) => name)).size, PARTS.length);
  const root = new URL("../", import.meta.url);
  for (const path of PARTS.flatMap(({ paths, without = [] }) => [...paths, ...without])) {
    assert.doesNotThrow(() => Deno.statSync(new URL(path, root)), path);
  }
});

Deno.test("the commit is read from a checkout, a worktree and packed references", async () => {
  await withFolder((folder) => {
    const [one, other] = ["1".repeat(40), "2".repeat(40)];
    const write = (path: string, text: string) => {
      Deno.mkdirSync(join(folder, path, ".."), { recursive: true });
      Deno.writeTextFileSync(join(folder, path), text);
    };
    assert.equal(commitOf(folder), undefined);
    write("main/.git/HEAD", "ref: refs/heads/main\n");
    write("main/.git/packed-refs", `# pack-refs\n${one} refs/heads/main\n`);
    assert.equal(commitOf(join(folder, "main")), one);
    write("main/.git/refs/heads/main", `${other}\n`);
    assert.equal(commitOf(join(folder, "main")), other);
    write("tree/.git", `gitdir: ../main/.git/worktrees/tree\n`);
    write("main/.git/worktrees/tree/HEAD", "ref: refs/heads/main\n");
    write("main/.git/worktrees/tree/commondir", "../..\n");
    assert.equal(commitOf(join(folder, "tree")), other);
    write("main/.git/worktrees/tree/HEAD", `${one}\n`);
    assert.equal(commitOf(join(folder, "tree")), one);
  });
});

Deno.test({
  name: "a Vulkan loader beside the project is found",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withFolder((folder) => {
      const root = join(folder, "project");
      Deno.mkdirSync(root);
      assert.equal(missingEnvironment(root).LD_LIBRARY_PATH, undefined);
      Deno.writeTextFileSync(join(folder, "libvulkan.so.1"), "");
      assert.equal(missingEnvironment(root).LD_LIBRARY_PATH?.split(":")[0], folder);
    }),
});
