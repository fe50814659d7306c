// What is printed where the reader goes away, the disk is full, or a name commands the terminal.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { visible } from "../../cli/output.ts";
import { LiveProgress, PlainProgress } from "../../cli/progress.ts";
import { withFolder } from "../train/_folder.ts";
import { encodeImage, encodeLabel } from "../../train/images/image.ts";
import { tinyConfig } from "../train/_resume.ts";
import { runInShell, runProgram } from "./_program.ts";

const EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202etxt";
// deno-lint-ignore no-control-regex
const COMMANDS = /[\0-\x08\x0b-\x1f\x7f-\x9f\u202e]/;

Deno.test("control characters are spelled out, line ends and tabs are not", () => {
  assert.equal(visible("Größe\t→ 1\n–"), "Größe\t→ 1\n–");
  assert.equal(
    visible(EVIL),
    String.raw`\u001b]0;owned\u0007\u001b[31mred\u009b2J\u202etxt`,
  );
  const json = JSON.stringify({ [EVIL]: EVIL });
  assert.deepEqual(JSON.parse(visible(json)), { [EVIL]: EVIL }, "JSON means the same");
  assert.doesNotMatch(visible(json), COMMANDS);
});

Deno.test("progress spells out what it is told, on a terminal too", () => {
  let written = "";
  const write = (text: string) => void (written += text);
  const screen = { stream: "stdout", isTerminal: true, write } as const;
  const bar = { start() {}, update() {}, render() {}, stop() {} };
  for (const progress of [new PlainProgress(screen, 1), new LiveProgress(screen, () => bar)]) {
    progress.message(EVIL);
    progress.stageEnd({ name: EVIL, steps: 1, seconds: 1 });
  }
  assert.equal(written.split("owned").length, 5);
  assert.doesNotMatch(written.replaceAll("\r\x1b[K", ""), COMMANDS);
});

Deno.test("neither file names nor class names command the terminal", () =>
  withFolder(async (folder) => {
    const missing = await runProgram("train", "--resume", join(folder, `no${EVIL}run`));
    assert.match(missing.stderr, /^Cannot use run folder [^\n]*no\\u001b[^\n]*\n$/);
    assert.doesNotMatch(missing.stderr, COMMANDS);

    const data = join(folder, "data");
    const size = { width: 8, height: 8 };
    for (const kind of ["images", "labels"]) Deno.mkdirSync(join(data, kind), { recursive: true });
    const pixels = new Uint8Array(64);
    const picture = encodeImage({ data: new Uint8Array(192), ...size });
    Deno.writeFileSync(join(data, "images", "a.png"), picture);
    Deno.writeFileSync(join(data, "labels", "a.png"), encodeLabel({ data: pixels, ...size }));
    const classes = [{ name: EVIL, colour: [1, 2, 3], ids: [0] }, {
      name: "car",
      colour: [0, 0, 142],
      ids: [2],
    }];
    Deno.writeTextFileSync(join(data, "classes.json"), JSON.stringify({ classes }));
    for (const flags of [[], ["--json"]]) {
      const sheet = join(folder, "sheet.png");
      const { stdout, stderr } = await runProgram(
        "inspect",
        ...["--data", data, "--layout", "folder", "--sheet", sheet, ...flags],
      );
      assert.doesNotMatch(stdout + stderr, COMMANDS);
    }
  }));

Deno.test("a reader that goes away ends a command quietly, and a training with everything saved", () =>
  withFolder(async (folder) => {
    const help = await runInShell(`("$@"; echo $? >&2) | true`, "train", "--help");
    assert.equal(help.stderr, "141\n");

    const config = join(folder, "tiny.json");
    Deno.writeTextFileSync(config, JSON.stringify(tinyConfig(folder, 10_000)));
    const out = join(folder, "run");
    const args = ["train", "--config", config, "--stages", "source", "--out", out];
    const { stdout, stderr } = await runInShell(`("$@"; echo $? >&2) | head -n 12`, ...args);
    assert.match(stdout, /^source +1\/10000 /m, "it is still read when steps are made");
    assert.equal(stderr, `Stopped; ./run train --resume ${out} goes on\n141\n`);
    const scores = await runProgram(
      "eval",
      ...["--checkpoint", join(out, "checkpoints", "source.safetensors"), "--json"],
    );
    const { step } = JSON.parse(scores.stdout);
    assert.ok(step > 0 && step < 10_000, `${step}`);
    const lines = Deno.readTextFileSync(join(out, "metrics.jsonl")).trimEnd().split("\n");
    assert.equal(lines.length, step, "every step made is in the metrics");
  }));

Deno.test("standard output that cannot be written is a sentence, and nothing is lost", () =>
  withFolder(async (folder) => {
    const out = join(folder, "streets");
    const args = ["generate", "--out", out, "--width", "32", "--height", "16"];
    const counts = ["--source-images", "1", "--target-images", "1", "--val-images", "1"];
    const { code, stderr } = await runInShell(`"$@" >/dev/full`, ...args, ...counts);
    assert.match(stderr, /^Cannot write standard output as the disk is full; [^\n]+\n$/);
    assert.equal(code, 2);
    assert.ok(existsSync(join(out, "streets.json")));
    const silent = await runInShell(`"$@" 2>/dev/full`, "nonsense");
    assert.deepEqual(silent, { code: 2, stdout: "", stderr: "" });
  }));

Deno.test("the commands print nothing but through output.ts", () => {
  const folder = new URL("../../cli/", import.meta.url);
  for (const { name } of Deno.readDirSync(folder)) {
    // What permissions.ts prints is for ./run, which takes it as it is.
    if (name === "output.ts" || name === "permissions.ts") continue;
    const source = Deno.readTextFileSync(new URL(name, folder));
    assert.doesNotMatch(
      source,
      /\bconsole\.|Deno\.std(out|err)\.write|\.write(Sync)?\(encoder/,
      name,
    );
  }
});

Deno.test("a file that autotune cannot write is noticed before there is a run", () =>
  withFolder(async (folder) => {
    const config = join(folder, "tiny.json");
    Deno.writeTextFileSync(config, JSON.stringify(tinyConfig(folder, 1)));
    const out = join(folder, "run");
    for (
      const [path, reason] of [
        [join(config, "tune.json"), "a part of its path is not a folder"],
        [folder, "it is a folder"],
      ]
    ) {
      const { code, stderr } = await runProgram(
        "train",
        ...["--config", config, "--out", out, "--autotune", path],
      );
      assert.match(stderr, /^Cannot [^\n]+\n$/);
      assert.ok(stderr.includes(reason), stderr);
      assert.equal(code, 2);
      assert.ok(!existsSync(out));
    }
  }));
