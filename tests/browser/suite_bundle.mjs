// The project's test files as modules for a browser.

import { cpSync, writeFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** The project's folder. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGE = fileURLToPath(new URL("suite_page.js", import.meta.url));
/** Modules that stand in for built-in ones. */
const SHIMS = {
  "node:assert": 'export { default, strict } from "assert";',
  "node:assert/strict": 'export { strict as default } from "assert";',
};

/**
 * Writes test files as modules to a folder, each source at its own place in it, and what they read.
 *
 * @param {readonly string[]} files As paths from the project's folder.
 * @param {string} folder
 * @returns By file, what it reaches that a browser lacks, so that it cannot run; and a function
 * that puts places in sources for those in modules.
 */
export async function bundle(files, folder) {
  const imports = new Map();
  const build = await rolldown({
    cwd: dirname(PAGE), // where npm packages are
    input: [PAGE, ...files.map((file) => join(ROOT, file))],
    platform: "browser",
    logLevel: "warn",
    moduleTypes: { ".wgsl": "text", ".css": "text" },
    transform: {
      define: {
        global: "globalThis",
        "process.env.NODE_DEBUG": "undefined",
        "process.stderr": "undefined",
      },
      inject: { Deno: [PAGE, "Deno"] },
    },
    plugins: [withoutBuiltins(imports)],
  });
  const { output } = await build.write({
    dir: folder,
    preserveModules: true,
    preserveModulesRoot: ROOT,
    sourcemap: true,
    sourcemapPathTransform: (source, map) => relative(ROOT, resolve(dirname(map), source)),
  });
  await build.close();
  cpSync(join(ROOT, "tests/goldens"), join(folder, "tests/goldens"), { recursive: true });
  writeFileSync(join(folder, "index.html"), "<!doctype html>");
  const lacked = files.map((file) => [file, lacking(join(ROOT, file), imports)]);
  const maps = new Map(output.map(({ fileName, map }) => [`/${fileName}`, map]));
  return {
    lacking: new Map(lacked.filter(([, module]) => module !== "")),
    inSources: (text) => inSources(text, maps),
  };
}

/**
 * Replaces what {@link SHIMS} has, leaves out what else is no file, and notes who imports what.
 *
 * @param {Map<string, string[]>} imports
 * @returns {import("rolldown").Plugin}
 */
function withoutBuiltins(imports) {
  return {
    name: "without-builtins",
    resolveId(id, importer) {
      if (id in SHIMS) return `\0${id}`;
      const isOurs = importer?.startsWith(ROOT) && !importer.includes("node_modules");
      return isOurs && !/^[./]/.test(id) ? { id, external: true } : null;
    },
    load: (id) => SHIMS[id.slice(1)],
    moduleParsed({ id, importedIds, dynamicallyImportedIds }) {
      imports.set(id, [...importedIds, ...dynamicallyImportedIds]);
    },
  };
}

/** The first module that a file reaches and that a browser lacks; empty where there is none. */
function lacking(file, imports) {
  const reached = new Set([file]);
  for (const path of reached) {
    for (const next of imports.get(path) ?? []) {
      if (imports.has(next)) reached.add(next);
      else return `${next}${path === file ? "" : `, by way of ${relative(ROOT, path)}`}`;
    }
  }
  return "";
}

function inSources(text, maps) {
  const places = /http:\/\/[^/\s]+(\/\S+?):(\d+):(\d+)/g;
  return text.replace(places, (place, address, line, column) => {
    const map = maps.get(address);
    if (!map) return place;
    const { originalSource, originalLine, originalColumn } = new SourceMap(map)
      .findEntry(line - 1, column - 1);
    return `${originalSource}:${originalLine + 1}:${originalColumn + 1}`;
  });
}
