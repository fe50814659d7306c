/**
 * Builds the page to `dist/demo`: static files with relative paths, to be put on any server.
 * `deno task demo` packs the library first, builds, and serves it here; with `--build` it only builds.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { build, type Plugin } from "vite";
import { PRESETS } from "../../train/config/presets.ts";
import { SHIPPED } from "./protocol.ts";
import type { TrainingSettings } from "./worker/settings.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = join(root, "examples/browser");
const output = join(root, "dist/demo");
const quick: TrainingSettings = PRESETS.quick;
const library = {
  resolve: { alias: { "@proda/webgpu": join(root, "dist/package/mod.js") } },
  define: { QUICK: JSON.stringify(quick) },
};

/** Shaders without their comments; lines stay where they are, for what errors say of them. */
const leanShaders: Plugin = {
  name: "lean-shaders",
  transform(code, id) {
    if (!id.endsWith(".wgsl.js")) return null;
    const text = /"(?:[^"\\]|\\.)*"/;
    return code.replace(text, (literal) => {
      const lines: string[] = JSON.parse(literal).split("\n");
      return JSON.stringify(lines.map((line) => line.replace(/\/\/.*/, "").trim()).join("\n"));
    });
  },
};

await build({
  ...library,
  plugins: [leanShaders],
  root: page,
  base: "./",
  configFile: false,
  logLevel: "warn",
  build: {
    outDir: output,
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
  },
  worker: { format: "es", plugins: () => [leanShaders] },
});
for (const name of SHIPPED) {
  await copy(join(root, "networks/streets", `${name}.safetensors`), "networks");
}
for await (const { name } of Deno.readDir(join(page, "recorded"))) {
  await copy(join(page, "recorded", name), "recorded");
}
await describe();
if (!Deno.args.includes("--build")) serve();

async function copy(file: string, folder: string): Promise<void> {
  await Deno.mkdir(join(output, folder), { recursive: true });
  await Deno.copyFile(file, join(output, folder, file.slice(file.lastIndexOf("/") + 1)));
}

/** Says how much a visitor's browser fetches, compressed as servers send it. */
async function describe(): Promise<void> {
  const sizes: Record<string, number> = {};
  for (const folder of ["", "assets", "networks", "recorded"]) {
    for await (const { name, isFile } of Deno.readDir(join(output, folder))) {
      if (!isFile) continue;
      const kind = folder === "assets" || folder === "" ? "code" : folder;
      sizes[kind] = (sizes[kind] ?? 0) + await compressedSize(join(output, folder, name));
    }
  }
  const texts = Object.entries(sizes).map(([kind, size]) => `${kind} ${Math.round(size / 1000)} kB`);
  console.log(`Built dist/demo: ${texts.join(", ")}, compressed.`);
}

async function compressedSize(path: string): Promise<number> {
  const { readable } = await Deno.open(path);
  let size = 0;
  for await (const part of readable.pipeThrough(new CompressionStream("gzip"))) size += part.length;
  return size;
}

function serve(): void {
  const port = Number(Deno.args[0] ?? 8000);
  const onListen = () => console.log(`The page is at http://localhost:${port}/ (Ctrl+C ends)`);
  Deno.serve({ port, hostname: "localhost", onListen }, answer);
}

const TYPES: Readonly<Record<string, string>> = {
  css: "text/css",
  html: "text/html; charset=utf-8",
  js: "text/javascript",
  json: "application/json",
  png: "image/png",
};

async function answer(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  const path = join(output, decodeURIComponent(pathname.endsWith("/") ? `${pathname}index.html` : pathname));
  if (!path.startsWith(output)) return new Response("Not found", { status: 404 });
  try {
    const { readable } = await Deno.open(path);
    const type = TYPES[path.slice(path.lastIndexOf(".") + 1)] ?? "application/octet-stream";
    return new Response(readable, { headers: { "content-type": type } });
  } catch {
    return new Response("Not found", { status: 404 });
  }
}
