// Headless Chromium with WebGPU on its own software adapter, SwiftShader, the same on every machine.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

/** Without these there is no WebGPU on a machine without a GPU; the rest keeps Chromium to itself. */
const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--ignore-gpu-blocklist",
  "--disable-quic",
  "--disable-sync",
  "--disable-background-networking",
  "--disable-component-update",
  "--no-first-run",
];

/** The path of the installed browser. */
function installed() {
  for (const name of ["chromium", "google-chrome"]) {
    try {
      return execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
    } catch {
      // the next one
    }
  }
  throw new Error("Cannot find Chromium: sh tests/browser/install.sh installs it, or names it");
}

/**
 * Opens a browser with a profile of its own, hands it over, and closes it.
 *
 * @template T
 * @param {(context: import("playwright-core").BrowserContext) => Promise<T>} use
 * @param {import("playwright-core").BrowserContextOptions & { flags?: string[] }} [options] Such as
 * `viewport` and `colorScheme`; further flags.
 * @returns {Promise<T>}
 */
export async function withChromium(use, { flags = [], ...options } = {}) {
  const profile = mkdtempSync(join(tmpdir(), "chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: installed(),
    headless: true,
    args: [...FLAGS, ...flags],
    // Its old headless mode has no WebGPU; the other two would choose another adapter.
    ignoreDefaultArgs: ["--headless", "--enable-unsafe-swiftshader", "--disable-features"],
    ...options,
  });
  try {
    return await use(context);
  } finally {
    await context.close().catch(() => {}); // it may have ended by itself
    rmSync(profile, { recursive: true, force: true });
  }
}
