import assert from "node:assert/strict";
import { join } from "node:path";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { escape, table } from "../../../train/report/page.ts";
import { VERSION } from "../../../train/base/version.ts";
import { embed } from "../../../train/report/embedding.ts";
import { meanFeatures, pairwiseDistances, scoreImages } from "../../../train/report/features.ts";
import { writeReport } from "../../../train/report/report.ts";
import { readRunRecord } from "../../../train/report/run_record.ts";
import { sentenceOf } from "../../../train/evaluation/causes.ts";
import { measure } from "../../../train/evaluation/evaluate.ts";
import { Loader } from "../../../train/data/loader.ts";
import { openRunData } from "../../../train/run/run_data.ts";
import { loadTrainedNetwork } from "../../../train/networks/trained_network.ts";
import { runTraining } from "../../../train/run/run.ts";
import { testGpu } from "../../_device.ts";
import { dataError, withFolder } from "../_folder.ts";
import { SILENT } from "../_observer.ts";

function tinyConfig(folder: string): RunConfig {
  const stage = { steps: 3, scheduleSteps: 3 };
  const streets = {
    directory: join(folder, "streets"),
    width: 64,
    height: 32,
    sourceTrain: 3,
    targetTrain: 3,
    targetVal: 3,
    sourceVal: 1,
    targetChoose: 1,
  };
  return mergeConfig(presetConfig("quick"), {
    values: {
      out: join(folder, "a run & more"),
      pipeline: ["source", "stage1"],
      evalEvery: 2,
      labelWatch: { every: 2, images: 2, pictures: 1 },
      network: { width: 4, headChannels: 8, groups: 4, dilations: [1, 2] },
      data: {
        heldOut: { share: 0 },
        batch: 2,
        cropHeight: 32,
        cropWidth: 48,
        longSide: 64,
        streets,
      },
      stages: { source: stage, stage1: stage },
    },
    from: "the test",
  });
}

/** The titles of the sections, which the list of contents names too. */
function titlesOf(html: string): string[] {
  const titles = [...html.matchAll(/<section id="(.*?)">\n<h2>(.*?)<\/h2>/g)];
  const links = [...html.matchAll(/<li><a href="#(.*?)">(.*?)<\/a>/g)];
  const both = (found: RegExpExecArray[]) => found.map(([, id, title]) => [id, title]);
  assert.deepEqual(both(links), both(titles), "the list of contents");
  return titles.map(([, , title]) => title);
}

/** The names of the pictures of each row of a section. */
function rowsOf(html: string, title: string): string[][] {
  const section = html.split("<section ").find((part) => part.includes(`<h2>${title}</h2>`)) ?? "";
  return section.split('<figure class="strip">').slice(1).map((row) =>
    [...row.matchAll(/<figcaption><b>(.*?)<\/b>/g)].map(([, name]) => name)
  );
}

/** Charts and pictures have names, tables captions and heads that say of what. */
function assertAccessible(html: string): void {
  const count = (pattern: RegExp) => [...html.matchAll(pattern)].length;
  for (const [svg] of html.matchAll(/<svg [^>]*>/g)) {
    assert.match(svg, /role="img"/);
    assert.match(svg, /aria-label="[^"]{20,}"/);
  }
  assert.ok(count(/<svg /g) >= 8, "charts");
  for (const [img] of html.matchAll(/<img [^>]{0,300}/g)) assert.match(img, /alt="[^"]{5,}"/);
  assert.equal(count(/<caption>/g), count(/<table/g));
  assert.equal(count(/<th /g), count(/<th scope="(row|col)"/g));
  assert.equal(count(/<h1>/g), 1);
  const ids = [...html.matchAll(/\bid="(.*?)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length, "ids are unique");
  assert.match(html, /<html lang="en">/);
  assert.match(html, /@media \(prefers-color-scheme: dark\)/);
  assert.match(html, /<meta name="viewport" content="width=device-width, initial-scale=1">/);
}

Deno.test("the page of a run has every part, needs no other file, and leaves nothing on the GPU", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const config = tinyConfig(folder);
    config.data.heldOut.share = 0.4; // one of three images
    const { signal } = new AbortController();
    const { stages } = await runTraining(config, gpu, SILENT, signal, { keepGoing: true });

    const before = gpu.memory.live;
    const output = join(folder, "page.html");
    const options = { run: config.out, compare: [config.out], output, onMessage() {} };
    await writeReport(gpu, options);
    assert.equal(gpu.memory.live, before, "bytes left behind");

    const html = Deno.readTextFileSync(output);
    const titles = titlesOf(html);
    assert.deepEqual(titles, [
      "Scores",
      "What went wrong",
      "Samples",
      "Images that went worst",
      "Labels of stage1 as they change",
      "Scores while training",
      "Pseudo labels while training",
      "Losses",
      "Confusions",
      "Features of the target",
      "Time and memory",
      "Configuration",
    ]);
    const causes = stages.flatMap(({ causes = [] }) => causes);
    assert.ok(causes.length >= 2, "neither stage learns the source");
    for (const cause of causes) assert.ok(html.includes(escape(sentenceOf(cause))), cause.name);
    const [score] = stages.map(({ source }) => source?.mIoU.toFixed(1));
    assert.match(
      html,
      new RegExp(`<td>${score}</td><td>[\\d.]+</td></tr>`),
      "the source's score stands before the label-free one",
    );
    assert.ok(html.includes("<b>mIoU on the source</b>"));
    assert.ok(!html.includes("<b>sourceMIoU"), "scores are no losses");
    for (const name of ["source", "symmetric", "structure", "regulariser"]) {
      assert.ok(html.includes(`<b>${name}</b>`), name);
    }

    // Of every image one row, before and after beside each other.
    const rows = rowsOf(html, "Samples");
    assert.equal(rows.length, 3);
    for (const row of rows) {
      assert.deepEqual(row, ["image", "label", "source", "labels of stage1", "stage1"]);
    }
    assert.deepEqual(rowsOf(html, "Labels of stage1 as they change"), [
      ["image", "label", "step 0", "step 2", "step 3"],
    ]);
    const [worst] = rowsOf(html, "Images that went worst");
    assert.deepEqual(worst, ["image", "label", "source", "stage1"]);
    for (const { name } of stages) assert.match(html, new RegExp(`<b>${name}</b><span>[\\d.]+ %`));

    assert.ok(html.includes("<h1>a run &amp; more on streets</h1>"));
    const { mIoU } = stages.find(({ handedOn }) => handedOn) ?? stages[1];
    assert.ok(
      html.includes(`<title>a run &amp; more on streets: mIoU ${mIoU.toFixed(1)} %</title>`),
    );
    assert.match(html, /<dt>Preset<\/dt><dd>quick, with \d+ settings changed<\/dd>/);
    assert.match(html, new RegExp(`<dt>Date</dt><dd>${new Date().toISOString().slice(0, 8)}`));
    assert.ok(html.includes(`<dt>Version</dt><dd>${VERSION}</dd>`));
    assert.ok(!html.includes("A term of what the stage minimises"), "losses are explained");
    assert.ok(html.includes("</i>ignored</li>"), "what is ignored is in the legend");
    assertAccessible(html);
    const loaded = [...html.matchAll(/\b(?:src|href)="([^"#]{1,40})/g)].map(([, url]) => url);
    assert.ok(loaded.length >= 5, `only ${loaded.length} pictures`);
    for (const url of loaded) assert.match(url, /^data:image\/png;base64,/);
    assert.doesNotMatch(html, /<script|@import|url\(http/);

    await writeReport(gpu, options);
    assert.equal(Deno.readTextFileSync(output), html, "the same run gives the same page");
  }));

Deno.test("the page's confusions are those of the evaluation", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const config = { ...tinyConfig(folder), pipeline: ["source" as const] };
    await runTraining(config, gpu, SILENT, new AbortController().signal);
    using trained = loadTrainedNetwork(gpu, join(config.out, "checkpoints/source.safetensors"));
    const { validation } = await openRunData(config.data, () => {});

    const { matrix, worst } = await scoreImages(trained, validation, 2);
    using loader = new Loader({ dataset: validation, order: "sequential" });
    const { confusion } = await measure(trained.network, loader, config.data.longSide);
    assert.equal(matrix.scores().mIoU, confusion.scores().mIoU);
    assert.equal(worst.length, 2);
    assert.ok(worst[0].mIoU <= worst[1].mIoU);
  }));

Deno.test("a target without labels has pictures, curves and no score", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const config = { ...tinyConfig(folder), pipeline: ["source" as const] };
    await openRunData(config.data, () => {}); // draws streets
    const root = config.data.streets.directory;
    config.data.sourceDirectory = join(root, "source");
    config.data.targetDirectory = join(root, "target");
    Deno.removeSync(join(root, "target", "gtFine"), { recursive: true });
    const { signal } = new AbortController();
    await runTraining(config, gpu, SILENT, signal, { keepGoing: true });

    const output = join(folder, "page.html");
    await writeReport(gpu, { run: config.out, compare: [], output, onMessage() {} });
    const html = Deno.readTextFileSync(output);
    assert.ok(html.includes("The target has no labels to measure mIoU on."));
    assert.deepEqual(rowsOf(html, "Samples")[0], ["image", "source"]);
    assert.ok(!titlesOf(html).includes("Confusions"));
    assert.doesNotMatch(html, /NaN|undefined/);
    const sections = html.split("<section ");
    const samples = sections.find((part) => part.includes("<h2>Samples</h2>")) ?? "";
    assert.ok(!samples.includes("ignored"), "no label, nothing that is ignored");
  }));

Deno.test("what a run started from is shown, unless another network lies in its place by now", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const first = { ...tinyConfig(folder), pipeline: ["source" as const] };
    const { signal } = new AbortController();
    await runTraining(first, gpu, SILENT, signal);
    const init = join(folder, "start.safetensors");
    Deno.copyFileSync(join(first.out, "checkpoints/source.safetensors"), init);
    const out = join(folder, "second");
    const second = { ...first, out, init, pipeline: ["stage1" as const] };
    await runTraining(second, gpu, SILENT, signal);
    const output = join(folder, "page.html");
    const rows = async () => {
      await writeReport(gpu, { run: out, compare: [], output, onMessage() {} });
      return rowsOf(Deno.readTextFileSync(output), "Samples")[0];
    };
    assert.deepEqual(await rows(), ["image", "label", "source", "labels of stage1", "stage1"]);

    const without = ["image", "label", "labels of stage1", "stage1"];
    Deno.copyFileSync(join(out, "checkpoints/stage1.safetensors"), init);
    assert.deepEqual(await rows(), without, "another network");
    Deno.writeTextFileSync(init, "damaged");
    assert.deepEqual(await rows(), without, "no network");
    Deno.removeSync(init);
    assert.deepEqual(await rows(), without, "nothing");
  }));

Deno.test("the page shows the network that was selected, and what several processes cost", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const config = { ...tinyConfig(folder), pipeline: ["source" as const] };
    const result = await runTraining(config, gpu, SILENT, new AbortController().signal);
    // As if an earlier network had been the best, and nothing were left of the last one.
    const [stage] = result.stages;
    const selected = { value: stage.mIoU, step: 2 };
    const times = { compute: 90, readBack: 1, reduce: 7, wait: 2 };
    const stages = [{ ...stage, selected, handedOn: true, times }];
    Deno.writeTextFileSync(join(config.out, "result.json"), JSON.stringify({ ...result, stages }));
    const checkpoint = (name: string) => join(config.out, "checkpoints", `${name}.safetensors`);
    Deno.renameSync(checkpoint("source"), checkpoint("source.best"));

    const output = join(folder, "page.html");
    await writeReport(gpu, { run: config.out, compare: [], output, onMessage() {} });
    const html = Deno.readTextFileSync(output);
    assert.ok(titlesOf(html).includes("Confusions"));
    assert.ok(html.includes('<tr class="kept"><th scope="row">source*</th>'));
    assert.ok(html.includes("The star marks the one handed on."));
    assert.match(html, /with other processes<\/th>[^]*<td>10\.0 %<\/td>/);
  }));

Deno.test("a torn last line of the metrics is left out, a broken one before it is refused", () =>
  withFolder((folder) => {
    const config = { ...tinyConfig(folder), out: folder };
    Deno.writeTextFileSync(join(folder, "config.json"), JSON.stringify(config));
    const metrics = join(folder, "metrics.jsonl");
    Deno.writeTextFileSync(metrics, `{"stage":"source","step":0,"source":2}\n{"stage":"sou`);
    const record = readRunRecord(folder);
    assert.deepEqual(record.metrics, [{ stage: "source", step: 0, values: { source: 2 } }]);
    assert.deepEqual(record.result.stages, []);

    Deno.writeTextFileSync(metrics, `{"stage":\n{"stage":"source","step":1}\n`);
    assert.throws(() => readRunRecord(folder), dataError("metrics.jsonl, line 1"));
  }));

Deno.test("a folder that is no run's is refused", () =>
  withFolder((folder) => {
    assert.throws(
      () => readRunRecord(folder),
      dataError(folder, "no config.json", "that a training named"),
    );
  }));

Deno.test("prototypes of a sample are means by prediction, and their distances Euclidean", () => {
  const sample = {
    rows: [Float32Array.of(0, 0), Float32Array.of(2, 0), Float32Array.of(4, 4)],
    labels: [0, 0, 1],
    predictions: [0, 0, 2],
  };
  const [first, second, third] = meanFeatures(sample, 3);
  assert.deepEqual([first, second, third], [
    Float32Array.of(1, 0),
    null,
    Float32Array.of(4, 4),
  ]);
  assert.deepEqual(pairwiseDistances([Float32Array.of(1, 0), Float32Array.of(4, 4)]), [0, 5, 5, 0]);
});

Deno.test("a map of features keeps clusters apart, and one seed draws it once", () => {
  const rows = Array.from(
    { length: 60 },
    (_, at) => Float32Array.from({ length: 8 }, (_, c) => (at < 30 ? 0 : 50) + (at * 7 + c) % 5),
  );
  const labels = rows.map((_, at) => at < 30 ? 0 : 1);
  const sample = { rows, labels, predictions: labels };
  const map = embed(sample, [rows[0], null], 3);
  assert.equal(map.length, 61);
  assert.deepEqual(map.at(-1)?.prototype, true);
  assert.deepEqual(embed(sample, [rows[0], null], 3), map);

  const centre = (label: number) => {
    const own = map.filter((point) => point.label === label && !point.prototype);
    const mean = (of: (point: { x: number; y: number }) => number) =>
      own.reduce((sum, point) => sum + of(point), 0) / own.length;
    const [x, y] = [mean(({ x }) => x), mean(({ y }) => y)];
    return { x, y, spread: mean((point) => Math.hypot(point.x - x, point.y - y)) };
  };
  const [a, b] = [centre(0), centre(1)];
  assert.ok(Math.hypot(a.x - b.x, a.y - b.y) > 2 * Math.max(a.spread, b.spread));
});

Deno.test("text stands in the page as it is", () => {
  assert.equal(escape(`<a href="x">&`), "&lt;a href=&quot;x&quot;&gt;&amp;");
  const html = table({ title: "x & y", text: "z" }, [["a<b", "c"], ["1", "2"]]);
  assert.ok(html.includes("<caption><span><b>x &amp; y</b> z</span></caption>"));
  assert.ok(html.includes('<tr><th scope="col">a&lt;b</th><th scope="col">c</th></tr>'));
  assert.ok(html.includes('<tr><th scope="row">1</th><td>2</td></tr>'));
});
