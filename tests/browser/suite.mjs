// Runs the project's own tests in headless Chromium, all that need no files, threads or processes:
// `deno task test:browser`. Arguments name files or folders, and --filter takes tests by their names.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { withChromium } from "./chromium.mjs";
import { bundle, ROOT } from "./suite_bundle.mjs";
import { serving } from "./suite_server.mjs";

/** What runs unless something is named. */
const ROOMS = ["tests/kernels", "tests/nn", "tests/train"];
/** Files that run only where they are named, and why. */
const LONG = {};
/** Tests that cannot pass in a browser, and why. */
const SKIPPED = {};
/** How many seconds a file may take. */
const LIMIT = 300;

const { values: { filter }, positionals } = parseArgs({
  allowPositionals: true,
  options: { filter: { type: "string", default: "" } },
});
const counts = { passed: 0, failed: 0, skipped: 0 };
const failures = [];

const named = positionals.flatMap(testFiles);
const files = named.length > 0 ? named : ROOMS.flatMap(testFiles).filter((file) => !LONG[file]);
const { code, leftOut, inSources } = await bundle(files);
try {
  await serving(code, async (origin) => {
    let rest = files.filter((file) => !leftOut.has(file));
    while (rest.length > 0) rest = await withChromium((context) => run(context, origin, rest));
  });
} catch (error) {
  fail("(Chromium)", error.message);
}
conclude();

/** The files of tests in a folder, or the file itself, from the project's folder. */
function testFiles(path) {
  if (path.endsWith(".ts") && existsSync(join(ROOT, path))) return [path];
  return readdirSync(join(ROOT, path), { recursive: true })
    .filter((name) => name.endsWith("_test.ts"))
    .map((name) => join(path, name))
    .sort();
}

/** Runs files until one has broken the browser; what is left is for a new one. */
async function run(context, origin, files) {
  for (const [index, file] of files.entries()) {
    if (!await runFile(context, origin, file)) return files.slice(index + 1);
  }
  return [];
}

/** Runs a file's tests in a page of its own. Returns whether the browser is fit for another. */
async function runFile(context, origin, file) {
  const page = await context.newPage();
  let name = file;
  let timer;
  const broken = new Promise((resolve) => {
    page.on("crash", () => resolve("the page has crashed"));
    page.on("close", () => resolve("the browser has ended"));
    timer = setTimeout(() => resolve(`no end after ${LIMIT} seconds`), LIMIT * 1000);
  });
  page.on("pageerror", (error) => fail(`${file}: outside of its tests`, error.stack));
  await page.exposeFunction("report", (event) => {
    if (event.count !== undefined) {
      console.log(`running ${event.count} test${event.count === 1 ? "" : "s"} from ./${file}`);
    } else if (event.name !== undefined) {
      name = event.name;
      process.stdout.write(`${name} ... `);
    } else if (event.skipped !== undefined) {
      counts.skipped++;
      console.log(`skipped: ${event.skipped}`);
    } else if (event.error === undefined) {
      counts.passed++;
      console.log(`ok (${time(event.milliseconds)})`);
    } else {
      console.log(`FAILED (${time(event.milliseconds)})`);
      fail(`${name} (./${file})`, event.error);
    }
  });
  await page.goto(origin);
  const reason = await Promise.race([
    broken,
    page.evaluate(async ([module, filter, skipped]) => {
      const { run } = await import("/tests/browser/suite_page.js");
      await run(module, filter, skipped, globalThis.report);
    }, [`/${file.replace(/ts$/, "js")}`, filter, SKIPPED]).catch((error) => error.message),
  ]);
  clearTimeout(timer);
  if (reason === undefined) await page.close();
  else fail(`${name} (./${file})`, reason);
  return reason === undefined;
}

function fail(name, error) {
  counts.failed++;
  failures.push(name);
  console.log(inSources(error));
}

function time(milliseconds) {
  return milliseconds < 1000
    ? `${Math.round(milliseconds)}ms`
    : `${Math.round(milliseconds / 1000)}s`;
}

function conclude() {
  const { passed, failed, skipped } = counts;
  if (passed + failed === 0) fail("no test has run", "");
  console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  process.exit(failed > 0 ? 1 : 0);
}
