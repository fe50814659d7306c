// .ci/run with a stand-in for ./run: the closing line and the exit status.

import assert from "node:assert/strict";
import { join } from "node:path";

const ROOT = new URL("../../", import.meta.url);

/** Runs it where each task prints and returns what is given, and every other task passes one test. */
async function ci(answers: Record<string, string>): Promise<{ code: number; lines: string[] }> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(join(folder, ".ci"));
    await Deno.copyFile(new URL(".ci/run", ROOT), join(folder, ".ci", "run"));
    const cases = Object.entries(answers).map(([task, script]) => `${task}) ${script} ;;\n`);
    await Deno.writeTextFile(
      join(folder, "run"),
      `#!/bin/sh\ncase $1 in\n${cases.join("")}*) echo "1 passed, 0 failed" ;;\nesac\n`,
      { mode: 0o755 },
    );
    const { code, stdout } = await new Deno.Command("/bin/sh", {
      args: ["-c", 'exec bash "$0"', join(folder, ".ci", "run")],
    }).output();
    return { code, lines: new TextDecoder().decode(stdout).trimEnd().split("\n") };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const ignore = Deno.build.os === "windows";

Deno.test("CI closes with the counts of all runs and names each one's", { ignore }, async () => {
  const { code, lines } = await ci({
    test: "echo '90 passed, 0 failed, 2 skipped'",
    "test:dawn": "echo '5 passed, 0 failed, 1 skipped'",
  });
  assert.equal(lines.at(-1), "100 passed, 0 failed, 3 skipped");
  assert.ok(
    lines.includes("test: 90 passed, 0 failed, 2 skipped, exit status 0"),
    lines.join("\n"),
  );
  assert.ok(lines.includes("test:gpu:runs: 1 passed, 0 failed, exit status 0"), lines.join("\n"));
  assert.equal(code, 0);
});

Deno.test(
  "CI fails with the status of the first run that did, after all have run",
  { ignore },
  async () => {
    const { code, lines } = await ci({
      "test:gpu:runs":
        "echo 'some output'; echo ' ERRORS '; echo 'a test'; echo '3 passed, 2 failed'; exit 7",
      "test:dawn": "echo '4 passed, 1 failed'; exit 1",
    });
    assert.equal(lines.at(-1), "12 passed, 3 failed");
    assert.equal(code, 7);
    const [again, summary] = ["test:gpu:runs:", "test: 1 passed, 0 failed, exit status 0"];
    const said = lines.slice(lines.indexOf(again), lines.indexOf(summary));
    assert.deepEqual(said.slice(0, 3), [again, " ERRORS ", "a test"], "errors are said again");
    assert.ok(!said.includes("some output"));
  },
);

Deno.test(
  "a run of CI without counts has failed, whatever its exit status",
  { ignore },
  async () => {
    const { code, lines } = await ci({ "test:browser": "echo Cannot; exit 0" });
    assert.equal(lines.at(-1), "6 passed, 1 failed");
    assert.ok(lines.includes("test:browser: no counts, exit status 1"), lines.join("\n"));
    assert.equal(code, 1);
  },
);

Deno.test("CI tests nothing that its checks refuse", { ignore }, async () => {
  const { code, lines } = await ci({ check: "exit 3", test: "echo tested" });
  assert.deepEqual(lines, [""]);
  assert.equal(code, 3);
});
