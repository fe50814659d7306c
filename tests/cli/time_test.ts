// Sizes that the command line leaves to be chosen, as a user sees them.

import assert from "node:assert/strict";
import { join } from "node:path";
import { readConfigFile } from "../../train/config/config.ts";
import { encodeLabel } from "../../train/images/image.ts";
import { withFolder } from "../train/_folder.ts";
import { imagePng, write } from "../train/_png.ts";
import { runProgram } from "./_program.ts";

/** A network and data of which a step takes no time; images, crops and steps are left open. */
const TINY = {
  pipeline: ["source"],
  network: { width: 2, headChannels: 8, groups: 4, dilations: [1] },
  data: { batch: 2 },
};

/** Two domains of 64×48 with peas; the flags that train on them. */
function writePair(folder: string): string[] {
  const classes = [
    { name: "ground", colour: [90, 60, 30], ids: [0] },
    { name: "pea", colour: [0, 200, 0], ids: [1] },
  ];
  const data = new Uint8Array(64 * 48);
  for (let y = 10; y < 15; y++) data.fill(1, y * 64 + 20, y * 64 + 25);
  const flags: string[] = [];
  for (const domain of ["source", "target"]) {
    const root = join(folder, domain);
    write(join(root, "classes.json"), new TextEncoder().encode(JSON.stringify({ classes })));
    for (const name of ["a", "b"]) {
      write(join(root, "images", `${name}.png`), imagePng(9, 64, 48));
      write(join(root, "labels", `${name}.png`), encodeLabel({ data, width: 64, height: 48 }));
    }
    flags.push(`--${domain}`, root, `--${domain}-layout`, "folder");
  }
  const config = join(folder, "tiny.json");
  Deno.writeTextFileSync(config, JSON.stringify(TINY));
  return [...flags, "--config", config];
}

Deno.test("a run on one's own images chooses sizes, says why, and its config.json holds them", () =>
  withFolder(async (folder) => {
    const flags = writePair(folder);
    const out = join(folder, "run");
    const ran = await runProgram("train", ...flags, "--time", "2m", "--out", out);
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /^chosen for your data: preset small/m);
    assert.match(
      ran.stdout,
      /^images of 64×48 are shown at 160×120, .* The parts of pea are small/m,
    );
    const config = readConfigFile(join(out, "config.json")) as Record<string, never>;
    const { data, network, stages } = config as unknown as {
      data: { longSide: number };
      network: { width: number };
      stages: { source: { steps: number; balance: number } };
    };
    assert.deepEqual([data.longSide, network.width, stages.source.balance], [160, 2, 1]);
    const { steps } = stages.source;
    assert.match(ran.stdout, new RegExp(`^steps: source ${steps};`, "m"));
    assert.match(ran.stdout, new RegExp(`^source: ${steps} steps in `, "m"));
    const resumed = await runProgram("train", "--resume", out);
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.doesNotMatch(resumed.stdout, /shown at/, "config.json decides alone");
    const refused = await runProgram("train", "--resume", out, "--time", "1h");
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /^Cannot resume .* with --time as its config\.json decides/);
  }));

Deno.test("a dry run shows what is chosen; steps, presets and files win over it", () =>
  withFolder(async (folder) => {
    const flags = writePair(folder);
    const dry = async (...more: string[]) => {
      const { code, stdout, stderr } = await runProgram("train", "--dry-run", ...flags, ...more);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    assert.match(
      await dry(),
      /^chosen for your data: preset \w+.*\nimages of .*\nsteps: .*\ntime: /,
    );
    assert.match(
      await dry("--steps", "7"),
      /^chosen for your data: preset \w+[\s\S]*^source +7 /m,
    );
    const file = join(folder, "more.json");
    const all = {
      data: { longSide: 48, cropHeight: 32, cropWidth: 32 },
      stages: { source: { steps: 3 } },
    };
    Deno.writeTextFileSync(file, JSON.stringify(all));
    const given = await dry("--config", file);
    assert.doesNotMatch(given, /^chosen for your data/m, "nothing is left to choose");
    assert.match(given, /^The parts of pea are smaller .* long side of 48 pixels/);
    assert.match(given, /^source +3 /m);
    const preset = await dry("--preset", "default", "--time", "30s");
    assert.match(preset, /^\S+ times the preset's steps fill 0:30/);
    const both = await runProgram("train", "--steps", "2", "--time", "1m");
    assert.equal(both.code, 2);
    assert.match(both.stderr, /^Cannot take both --steps and --time/);
  }));

Deno.test("a time without folders scales the benchmark's steps, and nothing else is chosen", async () => {
  const flags = ["train", "--dry-run", "--stages", "source"];
  const { code, stdout, stderr } = await runProgram(...flags, "--time", "1h");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^\S+ times the preset's steps fill 1:00:00/);
  const plain = await runProgram(...flags);
  assert.match(plain.stdout, /^\d\.\d+ million parameters, 8 classes; .* 4 images of 192×96 /);
  assert.match(plain.stdout, /^source +700 /m);
});
