/**
 * Serves the built page on this machine, and says how much of it a browser fetches.
 *
 *     deno run --allow-read=dist/demo --allow-net=localhost examples/browser/serve.ts [PORT]
 *
 * @module
 */

const ROOT = new URL("../../dist/demo/", import.meta.url);
const TYPES: Readonly<Record<string, string>> = {
  css: "text/css",
  html: "text/html; charset=utf-8",
  js: "text/javascript",
  json: "application/json",
  png: "image/png",
};

const sizes = await compressedSizes();
console.log(
  `The page takes, compressed as servers send it: ${
    Object.entries(sizes).map(([kind, bytes]) => `${kind} ${Math.round(bytes / 1000)} kB`).join(
      ", ",
    )
  }`,
);
const port = Number(Deno.args[0] ?? 8000);
const onListen = () => console.log(`It is at http://localhost:${port}/ (Ctrl+C ends)`);
Deno.serve({ port, hostname: "localhost", onListen }, answer);

/** The answer to a request: a file, or that there is none. URLs cannot climb out of the folder. */
async function answer(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  const path = new URL(`.${pathname.endsWith("/") ? `${pathname}index.html` : pathname}`, ROOT);
  try {
    const { readable } = await Deno.open(path);
    const type = TYPES[path.pathname.slice(path.pathname.lastIndexOf(".") + 1)];
    const headers = { "content-type": type ?? "application/octet-stream" };
    return new Response(readable, { headers });
  } catch {
    return new Response("There is no such file", { status: 404 });
  }
}

/** Bytes by what they are for: code first, networks and recorded pictures when they are wanted. */
async function compressedSizes(): Promise<Record<string, number>> {
  const sizes: Record<string, number> = {};
  for (const folder of [".", "assets", "networks", "recorded"]) {
    for await (const { name, isFile } of Deno.readDir(new URL(`${folder}/`, ROOT))) {
      if (!isFile) continue;
      const kind = folder === "." || folder === "assets" ? "code" : folder;
      const { readable } = await Deno.open(new URL(`${folder}/${name}`, ROOT));
      const packed = readable.pipeThrough(new CompressionStream("gzip"));
      let bytes = 0;
      for await (const part of packed) bytes += part.length;
      sizes[kind] = (sizes[kind] ?? 0) + bytes;
    }
  }
  return sizes;
}
