// Runs the project's own tests in headless Chromium, all that need no files, threads or processes:
// `deno task test:browser`. Arguments name files or folders; --filter takes tests by their names.

import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { withChromium } from "./chromium.mjs";
import { serve } from "./serve.mjs";
import { bundle, ROOT } from "./suite_bundle.mjs";

/** What runs unless something is named. */
const ROOMS = ["tests/kernels", "tests/nn", "tests/train"];
/** How many seconds a file may take. */
const LIMIT = 600;

const { values: { filter }, positionals } = parseArgs({
  allowPositionals: true,
  options: { filter: { type: "string", default: "" } },
});
const counts = { passed: 0, failed: 0, skipped: 0 };
const [errors, leftOut] = [[], []];
let inSources = (text) => text;

try {
  await runAll((positionals.length > 0 ? positionals : ROOMS).flatMap(testFiles));
} catch ({ message, stack }) {
  fail("The run itself", message.startsWith("Cannot ") ? message : stack);
}
conclude();

/** The files of tests in a folder, or the file itself, as paths from the project's folder. */
function testFiles(path) {
  if (!existsSync(join(ROOT, path))) throw new Error(`Cannot find tests as ${path} does not exist`);
  if (path.endsWith(".ts")) return [path];
  return readdirSync(join(ROOT, path), { recursive: true })
    .filter((name) => name.endsWith("_test.ts"))
    .map((name) => join(path, name))
    .sort();
}

async function runAll(files) {
  const folder = mkdtempSync(join(tmpdir(), "suite-"));
  let server;
  try {
    const bundled = await bundle(files, folder);
    inSources = bundled.inSources;
    for (const [file, module] of bundled.lacking) leftOut.push(`${file} needs ${module}`);
    server = await serve(folder);
    let rest = files.filter((file) => !bundled.lacking.has(file));
    while (rest.length > 0) {
      rest = await withChromium((context) => runUntilBroken(context, server.url, rest));
    }
  } finally {
    server?.close();
    rmSync(folder, { recursive: true });
  }
}

/** Runs files until one has broken the browser. Returns those that are left for a new one. */
async function runUntilBroken(context, url, files) {
  for (const [index, file] of files.entries()) {
    if (!await runFile(context, url, file)) return files.slice(index + 1);
  }
  return [];
}

/** Runs a file in a page of its own. Returns whether the browser is fit for another. */
async function runFile(context, url, file) {
  const page = await context.newPage();
  let test = "outside of its tests";
  const failed = (reason) => fail(`${test} => ./${file}`, reason);
  const report = ({ count, name, ignored, error, milliseconds }) => {
    if (count !== undefined) {
      console.log(`running ${count} test${count === 1 ? "" : "s"} from ./${file}`);
    } else if (name !== undefined) {
      process.stdout.write(`${test = name} ... `);
    } else if (ignored) {
      counts.skipped++;
      console.log("ignored");
    } else {
      console.log(`${error === undefined ? "ok" : "FAILED"} (${time(milliseconds)})`);
      if (error === undefined) counts.passed++;
      else failed(error);
    }
  };
  let timer;
  const broken = new Promise((resolve) => {
    page.on("crash", () => resolve("The page has crashed"));
    page.on("close", () => resolve("The browser has ended"));
    timer = setTimeout(() => resolve(`There is no end after ${LIMIT} seconds`), LIMIT * 1000);
  });
  page.on("pageerror", ({ stack }) => failed(stack));
  await page.exposeFunction("report", report);
  await page.goto(url);
  const module = new URL(file.replace(/ts$/, "js"), url).href;
  const run = page.evaluate(async ({ module, filter }) => {
    const { run } = await import("./tests/browser/suite_page.js");
    await run(module, filter, globalThis.report);
  }, { module, filter });
  const reason = await Promise.race([broken, run.catch(({ message }) => message)]);
  clearTimeout(timer);
  if (reason === undefined) {
    await page.close();
    return true;
  }
  console.log("FAILED");
  failed(reason);
  return false;
}

function fail(name, reason) {
  counts.failed++;
  errors.push(`${name}\n${inSources(reason).replace(/\n.*suite_page\.js[^]*/, "")}\n`);
}

function time(milliseconds) {
  const seconds = milliseconds / 1000;
  return seconds < 1 ? `${Math.round(milliseconds)}ms` : `${Math.round(seconds)}s`;
}

/** Prints what was left out, what failed and, last, the counts. */
function conclude() {
  const { passed, failed, skipped } = counts;
  if (passed + failed + skipped === 0) fail("The run itself", "has no test");
  if (leftOut.length > 0) console.log(`\nLeft out:\n  ${leftOut.join("\n  ")}`);
  if (errors.length > 0) console.log(`\n ERRORS \n\n${errors.join("\n")}`);
  const ignored = skipped > 0 ? `, ${skipped} skipped` : "";
  console.log(`\n${passed} passed, ${counts.failed} failed${ignored}`);
  process.exitCode = counts.failed > 0 ? 1 : 0;
}
