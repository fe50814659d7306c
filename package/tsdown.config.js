// The library as an npm package in dist/package: a module of ES2022 for each file, so that bundlers leave
// out what is not used, with its types beside it. Shaders become modules of their own.

import { fileURLToPath } from "node:url";
import project from "../deno.json" with { type: "json" };

export default {
  cwd: fileURLToPath(new URL("..", import.meta.url)),
  entry: Object.fromEntries(
    Object.values(project.exports).map((path) => [path.replace(/^\.\/|\.ts$/g, ""), path]),
  ),
  outDir: "dist/package",
  unbundle: true,
  platform: "neutral",
  target: "es2022",
  fixedExtension: false,
  loader: { ".wgsl": "text" },
  plugins: [{
    // As helpers in the place of `using` do where an engine has no such symbol.
    name: "dispose everywhere",
    renderChunk: (code, { fileName }) =>
      fileName.endsWith(".js")
        ? code.replaceAll("[Symbol.dispose]", '[Symbol.dispose ?? Symbol.for("Symbol.dispose")]')
        : null,
  }],
  dts: true,
  inputOptions: { checks: { pluginTimings: false } },
  tsconfig: "package/tsconfig.json",
  outputOptions: {
    entryFileNames: ({ facadeModuleId: path }) =>
      path?.endsWith(".wgsl") ? "[name].wgsl.js" : "[name].js",
  },
};
