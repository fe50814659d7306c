// `--autotune`, its file, and what happens without the flag.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { autotuneOf, loadChoices, saveChoices, softwareName, tuneRun } from "../../cli/autotune.ts";
import { Device } from "../../kernels/runtime/device.ts";
import { type Gpu, openGpu } from "../../kernels/runtime/mod.ts";
import { mergeConfig, presetConfig } from "../../train/config/config.ts";
import { adapterName, libraryName } from "../../train/run/run_choices.ts";
import { testGpu } from "../_device.ts";
import { withFolder } from "../train/_folder.ts";
import { tinyConfig } from "../train/_resume.ts";
import { type Outcome, runProgramIn, startProgram } from "./_program.ts";

async function withFile(use: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile();
  try {
    await use(path);
  } finally {
    await Deno.remove(path);
  }
}

/** The file's content with one table of choices. */
function content(adapter: string, software: string, table: object, version = 2): string {
  return JSON.stringify({ version, adapters: { [adapter]: { [software]: table } } });
}

Deno.test("autotune keeps the choices of each adapter in one file", () =>
  withFile(async (path) => {
    await Deno.writeTextFile(path, content("another GPU", "1", { "matmul 1": "128×128" }));
    using first = await openGpu();
    loadChoices(first, path);
    assert.deepEqual(first.choices.table, {}, "choices of another adapter are not used");
    first.choices.add({ "matmul 2": "64×64" });
    saveChoices(first, path);
    using second = await openGpu();
    loadChoices(second, path);
    assert.deepEqual(second.choices.table, { "matmul 2": "64×64" });
    const { adapters } = JSON.parse(await Deno.readTextFile(path));
    assert.deepEqual(adapters["another GPU"], { 1: { "matmul 1": "128×128" } });
  }));

Deno.test("autotune measures afresh where there is no file, or one of another version", () =>
  withFile(async (path) => {
    using gpu = await openGpu();
    const [adapter, software] = [adapterName(gpu), softwareName(gpu)];
    loadChoices(gpu, `${path}.absent`);
    for (const version of [0, 1, 3]) {
      await Deno.writeTextFile(path, content(adapter, software, { "matmul 1": "64×64" }, version));
      loadChoices(gpu, path);
      assert.deepEqual(gpu.choices.table, {});
    }
    const earlier = {
      version: 1,
      adapters: { [gpu.adapter.description]: { "matmul 1": "64×64" } },
    };
    await Deno.writeTextFile(path, JSON.stringify(earlier));
    loadChoices(gpu, path);
    assert.deepEqual(gpu.choices.table, {});
  }));

Deno.test("choices are known by adapter, what its driver offers, version and kernels", async () => {
  const { device, adapter } = await testGpu();
  const named = (changes: Partial<Gpu["adapter"]>) => {
    const gpu = new Device(device, { ...adapter, ...changes }, {});
    return `${adapterName(gpu)} | ${softwareName(gpu)}`;
  };
  const names = [
    {},
    { description: "another" },
    { vendor: "1" },
    { architecture: "another" },
    { device: "1" },
    { features: [...adapter.features, "another"] },
  ].map(named);
  assert.equal(new Set(names).size, names.length);
  assert.equal(named({ features: adapter.features.toReversed() }), names[0]);
  const { version } = JSON.parse(
    Deno.readTextFileSync(new URL("../../deno.json", import.meta.url)),
  );
  const library = libraryName();
  assert.match(
    library,
    new RegExp(`^${version}, kernels [0-9a-f]{12}, Deno ${Deno.version.deno}$`),
  );
  assert.ok(names.every((name) => name.includes(library)));
});

Deno.test("another kernel makes another library, whatever its version", () =>
  withFolder((folder) => {
    const kernels = join(folder, "kernels", "dense");
    Deno.mkdirSync(kernels, { recursive: true });
    const url = new URL(`file://${encodeURI(join(folder, "kernels"))}/`);
    const path = join(kernels, "a.wgsl");
    const names = ["fn a() {}", "fn b() {}"].map((text) => {
      Deno.writeTextFileSync(path, text);
      return libraryName(url);
    });
    Deno.renameSync(path, join(kernels, "b.wgsl"));
    names.push(libraryName(url));
    assert.equal(new Set(names).size, 3);
    Deno.renameSync(join(kernels, "b.wgsl"), path);
    Deno.writeTextFileSync(path, "fn a() {}");
    assert.equal(libraryName(url), names[0]);
  }));

Deno.test("what was tuned with another library is measured afresh, and dropped", () =>
  withFile(async (path) => {
    using gpu = await openGpu();
    const adapter = adapterName(gpu);
    await Deno.writeTextFile(path, content(adapter, "0.0.1", { "matmul 1": "64×64" }));
    loadChoices(gpu, path);
    assert.deepEqual(gpu.choices.table, {});
    gpu.choices.add({ "matmul 2": "64×64" });
    saveChoices(gpu, path);
    const { adapters } = JSON.parse(await Deno.readTextFile(path));
    assert.deepEqual(adapters, { [adapter]: { [softwareName(gpu)]: { "matmul 2": "64×64" } } });
  }));

const FOREIGN = [
  ["{", "it is not JSON"],
  ["[1]", "it holds something else"],
  ['{"version": 2, "adapters": {"a": {"b": {"c": 1}}}}', "it holds something else"],
] as const;

const refusal = (path: string, reason: string) =>
  `Cannot use autotune file ${path} as ${reason}: expected what --autotune has ` +
  "written; delete it to measure afresh, or give another path";

Deno.test("autotune refuses a file that it has not written, by name", () =>
  withFile(async (path) => {
    using gpu = await openGpu();
    for (const [text, reason] of FOREIGN) {
      await Deno.writeTextFile(path, text);
      const message = refusal(path, reason);
      assert.throws(() => loadChoices(gpu, path), { name: "DataError", message });
    }
  }));

const { signal } = new AbortController();
/** One small stage. */
const configIn = (folder: string) => {
  const whole = { cropHeight: 32, cropWidth: 64, batch: 2 };
  const { data, ...rest } = tinyConfig(folder, 1) as { data: object };
  const network = { blocks: [1, 1, 1, 1], width: 4, headChannels: 8, groups: 4, dilations: [1] };
  const values = { ...rest, network, pipeline: ["source"], data: { ...data, ...whole } };
  return mergeConfig(presetConfig("default"), { values, from: "the test" });
};

Deno.test("where nobody has asked, a file that cannot be used is passed over with a sentence, and stays", () =>
  withFolder(async (folder) => {
    const path = join(folder, "autotune.json");
    const run = { config: configIn(folder), classes: 8 };
    for (const [text, reason] of FOREIGN) {
      Deno.writeTextFileSync(path, text);
      using gpu = await openGpu({ autotune: true });
      const said: string[] = [];
      const report = (line: string) => void said.push(line);
      const signal = AbortSignal.timeout(500); // time for a few kernels
      await tuneRun(gpu, { path, isAsked: false }, run, report, signal);
      const [first, ...rest] = said;
      assert.equal(first, refusal(path, reason));
      assert.doesNotMatch(rest.join(), /Cannot|kept/);
      assert.equal(Deno.readTextFileSync(path), text);
      const asked = tuneRun(gpu, { path, isAsked: true }, run, report, signal);
      await assert.rejects(asked, { message: refusal(path, reason) });
    }
  }));

Deno.test("a GPU without timestamp queries is not tuned, with a sentence; a software adapter without a word", async () => {
  const { device, adapter } = await testGpu();
  for (const isFallback of [false, true]) {
    const gpu = new Device(device, { ...adapter, isFallback }, {});
    const said: string[] = [];
    const run = { config: presetConfig("default"), classes: 8 };
    const autotune = { path: "/nowhere/autotune.json", isAsked: false };
    await tuneRun(gpu, autotune, run, (line) => said.push(line), signal);
    const sentence = `Kernels are not tuned for "${adapter.description}" as it has no timestamp ` +
      "queries: they compute in the ways that are expected to be the fastest";
    assert.deepEqual(said, isFallback ? [] : [sentence]);
  }
});

Deno.test("the flag, its absence and its opposite", () => {
  const beside = join("runs", "autotune.json");
  const out = join("runs", "mine");
  assert.deepEqual(autotuneOf(undefined, out), { path: beside, isAsked: false, isNamed: false });
  assert.deepEqual(autotuneOf(true, out), { path: beside, isAsked: true, isNamed: false });
  assert.deepEqual(autotuneOf("my.json", out), { path: "my.json", isAsked: true, isNamed: true });
  assert.equal(autotuneOf(false, out), undefined);
});

Deno.test("Ctrl+C while kernels are tuned ends the run before its first step, and keeps what is known", () =>
  withFolder(async (folder) => {
    const config = join(folder, "tiny.json");
    const out = join(folder, "run");
    Deno.writeTextFileSync(config, JSON.stringify({ ...configIn(folder), out }));
    const child = startProgram(["train", "--config", config, "--autotune"]);
    let stdout = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const wasTuning = stdout.includes("tuning kernels");
      stdout += text;
      if (!wasTuning && stdout.includes("tuning kernels")) child.kill("SIGINT");
    }
    const [stderr, { code }] = await Promise.all([new Response(child.stderr).text(), child.status]);
    assert.deepEqual([code, stderr], [130, ""]);
    assert.match(stdout, /^Stopped; .\/run train --resume .* goes on$/m);
    assert.doesNotMatch(stdout, /source 1\/1|time was over/);
    assert.ok(!existsSync(join(out, "choices.json")));
    const tuned = /^tuned (\d+) kernels/m.exec(stdout)?.[1] ?? "0";
    assert.equal(existsSync(join(folder, "autotune.json")), tuned !== "0");
    const { code: resumed, stdout: rest } = await runProgramIn({}, "train", "--resume", out);
    assert.equal(resumed, 0);
    assert.match(rest, /^source 1\/1/m);
  }));

Deno.test("a GPU is tuned without being asked, once, and not with --no-autotune; a software adapter is not", () =>
  withFolder(async (folder) => {
    const config = join(folder, "tiny.json");
    Deno.writeTextFileSync(config, JSON.stringify({ ...configIn(folder), out: undefined }));
    const hardware = ["--preload", fileURLToPath(new URL("../_as_gpu.ts", import.meta.url))];
    const train = (out: string, preload: string[], ...flags: string[]): Promise<Outcome> =>
      runProgramIn(
        { permissions: ["--allow-read", "--allow-write", ...preload] },
        ...["train", "--config", config, "--out", join(folder, out), ...flags],
      );
    const kept = join(folder, "autotune.json");
    const choicesOf = (out: string) => join(folder, out, "choices.json");

    for (const [preload, flags] of [[[], []], [hardware, ["--no-autotune"]]]) {
      const { code, stdout, stderr } = await train(
        "not",
        preload as string[],
        ...flags as string[],
      );
      assert.deepEqual([code, stderr], [0, ""]);
      assert.doesNotMatch(stdout, /tun/);
      assert.ok(!existsSync(kept) && !existsSync(choicesOf("not")));
      Deno.removeSync(join(folder, "not"), { recursive: true });
    }

    const first = await train("first", hardware);
    assert.deepEqual([first.code, first.stderr], [0, ""]);
    assert.match(first.stdout, /^tuning kernels for .*, for a minute at most$/m);
    assert.match(first.stdout, /^tuned \d+ kernels in \d+ s; kept in .*autotune\.json$/m);
    const record = JSON.parse(Deno.readTextFileSync(choicesOf("first")));
    const { adapters } = JSON.parse(Deno.readTextFileSync(kept));
    const [table] = Object.values(adapters[record.adapter]);
    assert.ok(Object.keys(record.choices).length > 40);
    assert.deepEqual(table, record.choices);

    const second = await train("second", hardware);
    assert.equal(second.code, 0, second.stderr);
    assert.doesNotMatch(second.stdout, /tun/, "all is known");
    assert.deepEqual(JSON.parse(Deno.readTextFileSync(choicesOf("second"))), record);
    const metricsOf = (out: string) => Deno.readTextFileSync(join(folder, out, "metrics.jsonl"));
    assert.equal(metricsOf("second"), metricsOf("first"));
  }));
