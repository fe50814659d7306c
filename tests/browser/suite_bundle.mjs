// The project's test files as modules for a browser.

import { SourceMap } from "node:module";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** The project's folder. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const HERE = fileURLToPath(new URL(".", import.meta.url));
const PAGE = join(HERE, "suite_page.js");
/** Modules that stand in for built-in ones. */
const SHIMS = {
  "node:assert": 'export { default, strict } from "assert";',
  "node:assert/strict": 'export { strict as default } from "assert";',
};

/**
 * Bundles test files, a module for each source, at the address of that source but for its ending.
 *
 * @param {readonly string[]} files As paths from the project's folder.
 * @returns By file, why it cannot run, as a browser lacks what it imports; by address, the code; and
 * `inSources`, which puts places in sources for those in the code.
 */
export async function bundle(files) {
  const imports = new Map();
  const build = await rolldown({
    cwd: HERE, // where npm packages are
    input: [PAGE, ...files.map((file) => join(ROOT, file))],
    platform: "browser",
    logLevel: "warn",
    moduleTypes: { ".wgsl": "text" },
    transform: {
      define: { global: "globalThis", "process.env.NODE_DEBUG": "undefined" },
      inject: { Deno: [PAGE, "Deno"] },
    },
    plugins: [{
      name: "browser",
      resolveId(id, importer) {
        if (id in SHIMS) return `\0${id}`;
        const isOurs = importer?.startsWith(ROOT) && !importer.includes("node_modules");
        return isOurs && !/^[./]/.test(id) ? { id, external: true } : null;
      },
      load: (id) => SHIMS[id.slice(1)],
      moduleParsed({ id, importedIds, dynamicallyImportedIds }) {
        imports.set(id, [...importedIds, ...dynamicallyImportedIds]);
      },
    }],
  });
  const { output } = await build.generate({
    preserveModules: true,
    preserveModulesRoot: ROOT,
    sourcemap: true,
  });
  await build.close();
  const reasons = files.map((file) => [file, lacking(join(ROOT, file), imports)]);
  const chunks = new Map(
    output.filter(({ type }) => type === "chunk").map((chunk) => [`/${chunk.fileName}`, chunk]),
  );
  return {
    leftOut: new Map(reasons.filter(([, reason]) => reason !== "")),
    code: new Map([...chunks].map(([address, { code }]) => [address, code])),
    inSources: (text) => inSources(text, chunks),
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

function inSources(text, chunks) {
  return text.replace(/http:\/\/[^/\s]+(\/\S+?):(\d+):(\d+)/g, (place, address, line, column) => {
    const chunk = chunks.get(address);
    if (!chunk?.map) return place;
    const { originalSource, originalLine, originalColumn } = new SourceMap(chunk.map)
      .findEntry(line - 1, column - 1);
    if (originalSource === undefined) return place;
    return `${join("tests/browser", originalSource)}:${originalLine + 1}:${originalColumn + 1}`;
  });
}
