// Opens the built page of examples/browser in headless Chromium, uses it as a visitor would, and prints what
// it heard and saw as JSON: `node drive_page.mjs SCENE FOLDER [FILE …]`.

import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { withChromium } from "./chromium.mjs";
import { serve } from "./serve.mjs";

const [scene, folder, ...files] = process.argv.slice(2);
/** Milliseconds that a software adapter on a busy machine may take for anything. */
const PATIENCE = 240_000;

/** Keeps what the page's worker says, and how long the page's own thread was ever busy. */
function listen() {
  globalThis.heard = [];
  globalThis.longest = 0;
  const Native = globalThis.Worker;
  globalThis.Worker = class extends Native {
    constructor(...options) {
      super(...options);
      this.addEventListener("message", ({ data }) => {
        const copy = structuredClone(data);
        if (copy.event?.kind !== "snapshot") globalThis.heard.push(copy);
      });
    }
  };
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) {
      globalThis.longest = Math.max(globalThis.longest, duration);
    }
  }).observe({ type: "longtask", buffered: true });
}

/** Makes the browser one without WebGPU. */
function withoutWebGpu() {
  Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined });
}

/** Texts whose contrast with what is behind them is below 4.5, and what is wider than the window. */
function flaws() {
  const channel = (value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  const parse = (colour) => colour.match(/[\d.]+/g)?.map(Number) ?? [];
  const luminance = ([red, green, blue]) =>
    0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [red, green, blue, alpha = 1] = parse(
        getComputedStyle(at).backgroundColor,
      );
      if (alpha > 0.5) return [red, green, blue];
    }
    return [255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement: element, data } = walker.currentNode;
    const isSeen = element.checkVisibility({
      opacityProperty: true,
      visibilityProperty: true,
    });
    if (
      !data.trim() || !isSeen ||
      element.closest(":disabled, [data-disabled], script")
    ) continue;
    const style = getComputedStyle(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    const [light, dark] = [luminance(parse(ink)), luminance(behind(element))]
      .sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) {
      low.push(`${data.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
    }
  }
  const nameless = [
    ...document.querySelectorAll("button, input, select, canvas, [role=img]"),
  ]
    .filter((element) =>
      !element.textContent.trim() && !element.getAttribute("aria-label") &&
      !element.labels?.[0]?.textContent.trim()
    ).map(({ outerHTML }) => outerHTML.slice(0, 80));
  const { scrollWidth } = document.documentElement;
  return { low, nameless, overflow: scrollWidth - innerWidth };
}

/** What is written somewhere, once it is what it is waited for to be. */
async function textOf(page, selector, pattern = /./) {
  await page.waitForFunction(
    ([selector, source]) => new RegExp(source).test(document.querySelector(selector).textContent),
    [selector, pattern.source],
    { timeout: PATIENCE },
  );
  return (await page.textContent(selector)).replace(/\s+/g, " ").trim();
}

function settled(page) {
  return page.waitForFunction(
    () => !document.querySelector("#inspect-frame").hasAttribute("aria-busy"),
    null,
    { timeout: PATIENCE },
  );
}

async function choose(page, view) {
  await page.check(`#inspect-view input[value="${view}"]`, { force: true });
  await settled(page);
}

const scenes = {
  /** Compares, trains ten steps, pauses, goes on, resets. */
  async live(page) {
    const adapter = await textOf(page, "#adapter");
    const note = await textOf(page, "#compare-note");
    const looks = await page.evaluate(() =>
      heard.flatMap(({ answer }) => answer?.shown ? [Array.from(answer.labels)] : [])
    );
    const scores = [
      await textOf(page, "#before-score"),
      await textOf(page, "#after-score"),
    ];
    await page.focus("#compare-divider");
    await page.keyboard.press("ArrowRight");
    const divider = await page.getAttribute(
      "#compare-divider",
      "aria-valuetext",
    );
    await page.fill("#train-seed", "3");
    await page.focus("#train-start");
    await page.keyboard.press("Enter");
    const steps = () =>
      page.evaluate(() => heard.flatMap(({ event }) => event?.kind === "step" ? [event] : []));
    const reach = (count) =>
      page.waitForFunction(
        (count) => heard.filter(({ event }) => event?.kind === "step").length >= count,
        count,
        { timeout: 3 * PATIENCE },
      );
    await reach(2);
    await page.click("#train-start");
    await textOf(page, "#train-start", /Go on/);
    await page.waitForTimeout(8000); // a step that was under way ends
    const [paused] = [(await steps()).length];
    await page.waitForTimeout(8000);
    const stillPaused = (await steps()).length;
    await page.click("#train-start");
    await reach(10);
    const losses = (await steps()).slice(0, 10).map(({ stage, losses }) => ({
      stage,
      losses,
    }));
    const status = await page.textContent("#train-status");
    const found = await page.evaluate(flaws);
    const charts = await page.locator("#train-charts svg").count();
    await page.selectOption("#inspect-network", "here");
    await settled(page);
    const knows = await page.textContent("#inspect-knows");
    await page.click("#train-reset");
    await page.waitForFunction(
      () => document.querySelector("#train-reset").disabled,
      null,
      {
        timeout: PATIENCE,
      },
    );
    const afterReset = await page.inputValue("#inspect-network");
    const longest = await page.evaluate(() => longest);
    return {
      ...{
        adapter,
        note,
        looks,
        scores,
        divider,
        paused,
        stillPaused,
        losses,
        status,
        charts,
      },
      ...{ knows, afterReset, longest, found },
    };
  },

  /** Looks inside: every view, an image of one's own, a network of one's own, a damaged one. */
  async inside(page) {
    await settled(page);
    const views = {};
    for (
      const view of [
        "image",
        "label",
        "confidence",
        "assigned",
        "denoised",
        "prediction",
      ]
    ) {
      await choose(page, view);
      views[view] = await page.evaluate(() => {
        const canvas = document.querySelector("#inspect-canvas");
        const { data } = canvas.getContext("2d").getImageData(
          0,
          0,
          canvas.width,
          canvas.height,
        );
        let hash = 0;
        for (let at = 0; at < data.length; at += 4001) {
          hash = (hash * 31 + data[at]) >>> 0;
        }
        return hash;
      });
    }
    await choose(page, "denoised");
    const shares = [];
    for (let at = 0; at < 3; at++) {
      shares.push(await page.textContent(`#inspect-share-${at}`));
    }
    await choose(page, "prediction");
    await page.hover("#inspect-canvas", { position: { x: 40, y: 150 } });
    const pointed = await page.textContent("#inspect-readout");
    await page.focus("#inspect-canvas");
    await page.keyboard.press("ArrowDown");
    const walked = await page.textContent("#inspect-readout");
    const saved = async () => {
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.click("#inspect-mask"),
      ]);
      return readFileSync(await download.path()).toString("base64");
    };
    const prediction = await page.evaluate(() =>
      Array.from(heard.findLast(({ answer }) => answer?.shown).answer.labels)
    );
    const mask = await saved();
    const [image, network, damaged] = files;
    await page.setInputFiles("#inspect-file", image);
    await textOf(page, "#inspect-scores", /No label/);
    await settled(page);
    const ownImage = await page.evaluate(() =>
      Array.from(heard.findLast(({ answer }) => answer?.shown).answer.labels)
    );
    await page.evaluate(async () => {
      const canvas = new OffscreenCanvas(40, 30);
      canvas.getContext("2d").fillRect(0, 0, 40, 30);
      const file = new File([await canvas.convertToBlob()], "pasted.png", { type: "image/png" });
      const clipboardData = new DataTransfer();
      clipboardData.items.add(file);
      document.dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
    });
    await page.waitForFunction(
      () => heard.findLast(({ answer }) => answer?.shown).answer.labels.length === 40 * 30,
      null,
      { timeout: PATIENCE },
    );
    await settled(page);
    await page.setInputFiles("#inspect-checkpoint", damaged);
    const refused = await textOf(page, "#inspect-message");
    await page.setInputFiles("#inspect-checkpoint", network);
    const knows = await textOf(page, "#inspect-knows", /opened/);
    const isMessageGone = await page.isHidden("#inspect-message");
    return {
      views,
      shares,
      pointed,
      walked,
      prediction,
      mask,
      ownImage,
      refused,
      knows,
      isMessageGone,
    };
  },

  /** The GPU is lost: that is said, and the page goes on. */
  async lost(page) {
    const [worker] = page.workers();
    await worker.evaluate(() => {
      const { createCommandEncoder } = GPUDevice.prototype;
      GPUDevice.prototype.createCommandEncoder = function (...options) {
        globalThis.device = this;
        return createCommandEncoder.apply(this, options);
      };
    });
    const notes = [];
    const next = async () => {
      await page.click("#compare-next");
      await page.waitForFunction(() => !document.querySelector("#compare-next").disabled, null, {
        timeout: PATIENCE,
      });
      const banner = page.locator("#banner");
      notes.push(
        await banner.isVisible()
          ? await banner.textContent()
          : await page.textContent("#compare-note"),
      );
    };
    await next();
    await worker.evaluate(() => {
      // In the middle of the next picture, when the page has looked whether the GPU is there.
      const { submit } = GPUQueue.prototype;
      GPUQueue.prototype.submit = function (...options) {
        GPUQueue.prototype.submit = submit;
        submit.apply(this, options);
        device.destroy();
      };
    });
    await next();
    await next();
    return { notes };
  },

  /** A browser without WebGPU: the recorded run. */
  async recorded(page) {
    const banner = await textOf(page, "#banner");
    const scores = [
      await textOf(page, "#before-score"),
      await textOf(page, "#after-score"),
    ];
    await choose(page, "denoised");
    const share = await page.textContent("#inspect-share-2");
    await page.click("#train-start");
    const status = await textOf(page, "#train-status", /Done/);
    const labels = [];
    for (let at = 0; at < 2; at++) {
      labels.push(Number.parseFloat(await page.textContent(`#train-share-${at}`)));
    }
    await page.setInputFiles("#inspect-file", files[0]);
    const refused = await textOf(page, "#inspect-message");
    return {
      banner,
      scores,
      share,
      status,
      labels,
      refused,
      found: await page.evaluate(flaws),
    };
  },

  /** Nothing is done: how it looks. */
  async look(page) {
    return await page.evaluate(flaws);
  },
};

const [name, width = "1280", colorScheme = "light"] = scene.split(",");
// Not at the top of a server: all its paths are relative.
const server = await serve(dirname(folder));
const errors = [];
try {
  const seen = await withChromium(async (context) => {
    const page = await context.newPage();
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on(
      "requestfailed",
      (request) => errors.push(`${request.url()} cannot be loaded`),
    );
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(message.text());
    });
    await page.addInitScript(listen);
    if (name === "recorded") await page.addInitScript(withoutWebGpu);
    await page.goto(`${server.url}${basename(folder)}/`);
    await page.waitForSelector("html[data-ready]", { timeout: PATIENCE });
    return await scenes[name](page);
  }, { viewport: { width: Number(width), height: 900 }, colorScheme });
  console.log(JSON.stringify({ ...seen, errors }));
} finally {
  server.close();
}
