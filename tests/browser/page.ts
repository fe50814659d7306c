// The page of examples/browser as a visitor has it, in headless Chromium: it computes what Deno computes, it
// does all that it offers, and it reports no error. Run by `deno task test:page`, which builds it first.

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { STREETS_CLASSES } from "../../train/data/class_set.ts";
import { decodeLabel, encodeImage } from "../../train/images/image.ts";
import { renderStreet } from "../../train/streets/mod.ts";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PAGE = join(ROOT, "dist", "demo");
/** The driver in Chromium, or in Chrome. */
const SWIFTSHADER = ["/usr/lib/chromium", "/opt/google/chrome"]
  .map((folder) => `${folder}/vk_swiftshader_icd.json`).join(":");

/** The last line that a command prints, as JSON. */
async function outcome(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
  // deno-lint-ignore no-explicit-any -- what a scene tells is known to the test that asks for it
): Promise<any> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    env,
    cwd: ROOT,
  })
    .output();
  const [printed, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert.equal(code, 0, `${command} ${args[0]}: ${errors}${printed}`);
  return JSON.parse(printed.trimEnd().split("\n").at(-1) ?? "");
}

/** Plays a scene on the page. No scene may leave an error behind. */
async function play(scene: string, ...files: readonly string[]) {
  const { errors, ...seen } = await outcome("node", [
    join(HERE, "drive_page.mjs"),
    scene,
    PAGE,
    ...files,
  ]);
  assert.deepEqual(errors, []);
  return seen;
}

interface Flaws {
  readonly low: readonly string[];
  readonly nameless: readonly string[];
  readonly overflow: number;
}

function assertFlawless(found: Flaws): void {
  assert.deepEqual(found, { low: [], nameless: [], overflow: 0 });
}

async function withFiles(
  use: (files: readonly string[]) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const size = { width: 256, height: 128 };
    const street = renderStreet({
      seed: 0,
      domain: "target",
      split: "val",
      index: 36,
      ...size,
    });
    const image = join(folder, "mine.png");
    await Deno.writeFile(image, encodeImage({ data: street.image, ...size }));
    const network = join(folder, "mine.safetensors");
    await Deno.copyFile(
      join(ROOT, "networks/streets/stage1.safetensors"),
      network,
    );
    const damaged = join(folder, "damaged.safetensors");
    const bytes = await Deno.readFile(network);
    bytes[bytes.length - 5] ^= 1;
    await Deno.writeFile(damaged, bytes);
    await use([image, network, damaged]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a street and ten steps of training are Deno's to the bit, on the same driver", async () => {
  const seen = await play("live");
  assert.match(seen.adapter, /^Software adapter \(.*[Ss]wift[Ss]hader/);
  assert.match(
    seen.note,
    /^Street 36, which no training has seen\. Computed in your browser/,
  );
  const args = [
    "run",
    "--config",
    "deno.json",
    "--allow-read",
    "tests/browser/page_twin.ts",
  ];
  const expected = await outcome("deno", args, {
    VK_DRIVER_FILES: SWIFTSHADER,
  });
  assert.match(expected.adapter, /SwiftShader/);
  const [before, after] = expected.looks;
  // The page looks at the first street twice, and later at another one.
  assert.deepEqual(seen.looks.slice(0, 2), [before, after]);
  assert.deepEqual(seen.losses, expected.losses);
  const stages = seen.losses.map(({ stage }: { stage: string }) => stage);
  assert.deepEqual([...new Set(stages)], ["warmup", "stage1"]);

  assert.ok(
    Number(seen.scores[1]) > Number(seen.scores[0]) + 20,
    `scores: ${seen.scores}`,
  );
  assert.equal(seen.divider, "51 % source only, 49 % adapted");
  assert.equal(seen.stillPaused, seen.paused, "a pause holds");
  assert.match(
    seen.status,
    /step \d+: .* per (step|second), arrays of \d+ MiB on the GPU/,
  );
  assert.equal(seen.charts, 3);
  assert.match(seen.knows, /this page is adapting/);
  assert.equal(seen.afterReset, "stage3");
  assert.ok(seen.longest < 300, `the page stood still for ${seen.longest} ms`);
  assertFlawless(seen.found);
});

Deno.test("every view, an image and a network of one's own, and what is refused", () =>
  withFiles(async (files) => {
    const seen = await play("inside", ...files);
    const pictures = Object.values(seen.views);
    assert.equal(
      new Set(pictures).size,
      pictures.length,
      "every view shows something else",
    );
    for (const share of seen.shares) {
      assert.match(share, /^\d+\.\d % of the pixels right$/);
    }
    for (const readout of [seen.pointed, seen.walked]) {
      assert.match(readout, /^[a-z]+, \d+ %, truly [a-z]+$/);
    }
    const mask = Uint8Array.from(atob(seen.mask), (char) => char.charCodeAt(0));
    const { data, width, height } = decodeLabel(mask, "mask");
    const ids = seen.prediction.map((k: number) => STREETS_CLASSES.labelIds[k]);
    assert.deepEqual([[...data], width, height], [ids, 256, 128]);
    assert.equal(seen.ownImage.length, 256 * 128);
    assert.match(
      seen.refused,
      /^Cannot open checkpoint damaged\.safetensors as its content does not/,
    );
    assert.match(
      seen.knows,
      /^mine\.safetensors \(stage1, 330 steps\), which you have opened: it knows road/,
    );
    assert.ok(seen.isMessageGone);
  }));

Deno.test("a GPU that is lost is said to be, and opened anew", async () => {
  const { notes: [before, lost, after] } = await play("lost");
  assert.match(before, /^Street 37, .* Computed in your browser/);
  assert.match(lost, /^(The GPU device was lost|Cannot read back)/);
  assert.match(after, /^Street 39, .* Computed in your browser/);
});

Deno.test("a browser without WebGPU is told so, and shown the recorded run", () =>
  withFiles(async (files) => {
    const seen = await play("recorded", ...files);
    assert.match(seen.banner, /^This browser has no WebGPU: .*recorded run\.$/);
    assert.ok(
      Number(seen.scores[1]) > Number(seen.scores[0]) + 20,
      `scores: ${seen.scores}`,
    );
    assert.match(seen.share, /^\d+\.\d % of the pixels right$/);
    assert.match(
      seen.status,
      /^Done: mIoU of the held-back streets went from 3\d\.\d to [45]\d\.\d %/,
    );
    const [pseudo, denoised] = seen.labels;
    assert.ok(pseudo > 40 && denoised > pseudo, `labels: ${seen.labels}`);
    assert.match(seen.refused, /need WebGPU/);
    assertFlawless(seen.found);
  }));

for (const scheme of ["light", "dark"]) {
  Deno.test(`at 390 px and in the ${scheme} theme all is legible, has a name, and fits`, async () => {
    assertFlawless(await play(`look,390,${scheme}`));
  });
}

Deno.test("the page is small: code under 150 kB and networks under 4 MB, compressed", async () => {
  const size = async (folder: string) => {
    let bytes = 0;
    for await (const { name, isFile } of Deno.readDir(join(PAGE, folder))) {
      if (!isFile) continue;
      const { readable } = await Deno.open(join(PAGE, folder, name));
      const packed = readable.pipeThrough(new CompressionStream("gzip"));
      for await (const part of packed) bytes += part.length;
    }
    return bytes;
  };
  const code = await size(".") + await size("assets");
  const networks = await size("networks");
  assert.ok(code > 10_000 && code < 150_000, `code takes ${code} bytes`);
  assert.ok(
    networks > 1_000_000 && networks < 4_000_000,
    `networks take ${networks} bytes`,
  );
});
