// The page as static files with relative paths in dist/demo, to be put on any server. The library is the
// npm package that `deno task pack` has written.

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import manifest from "../../networks/streets/networks.json" with {
  type: "json",
};
import { PRESETS } from "../../train/config/presets.ts";
import { SHIPPED } from "./protocol.ts";

const measured = Object.fromEntries(
  manifest.networks.map(({ stage, mIoU }) => [stage, mIoU]),
);
const file = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Shaders without their comments; lines stay where they are, for what errors say of them. */
const leanShaders = {
  name: "lean-shaders",
  transform(code, id) {
    if (!id.endsWith(".wgsl.js")) return null;
    return code.replace(/"(?:[^"\\]|\\.)*"/, (literal) => {
      const lines = JSON.parse(literal).split("\n");
      return JSON.stringify(
        lines.map((line) => line.replace(/\/\/.*/, "").trim()).join("\n"),
      );
    });
  },
};

/** Networks and the recorded run, which are fetched when they are wanted. */
const files = {
  name: "files",
  generateBundle() {
    const emit = (folder, name, path) =>
      this.emitFile({
        type: "asset",
        fileName: `${folder}/${name}`,
        source: readFileSync(file(path)),
      });
    for (const name of SHIPPED) {
      emit(
        "networks",
        `${name}.safetensors`,
        `../../networks/streets/${name}.safetensors`,
      );
    }
    for (const name of readdirSync(file("recorded"))) {
      emit("recorded", name, `recorded/${name}`);
    }
  },
};

export default {
  root: file("."),
  base: "./",
  resolve: { alias: { "@proda/webgpu": file("../../dist/package/mod.js") } },
  // A training in the page follows the program's preset. The last is for engines without that symbol, as in
  // the library's package.
  define: {
    QUICK: JSON.stringify(PRESETS.quick),
    MEASURED: JSON.stringify(measured),
    "Symbol.dispose": "(Symbol.dispose ?? Symbol.for('Symbol.dispose'))",
  },
  plugins: [files],
  worker: { format: "es", plugins: () => [leanShaders] },
  build: {
    outDir: file("../../dist/demo"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
  },
};
