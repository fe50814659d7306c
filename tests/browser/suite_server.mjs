// Modules out of memory and goldens from the disk, to pages of this machine.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { ROOT } from "./suite_bundle.mjs";

/**
 * Serves while `use` runs.
 *
 * @template T
 * @param {ReadonlyMap<string, string>} code Modules by address.
 * @param {(origin: string) => Promise<T>} use
 * @returns {Promise<T>}
 */
export async function serving(code, use) {
  const server = createServer(async ({ url }, response) => {
    const { pathname } = new URL(url, "http://localhost"); // without `..`
    const type = code.has(pathname)
      ? "text/javascript"
      : pathname === "/"
      ? "text/html"
      : "application/octet-stream";
    try {
      const body = code.get(pathname) ??
        (pathname === "/" ? "<!doctype html>" : await golden(pathname));
      response.writeHead(200, { "content-type": type, "cache-control": "max-age=3600" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await use(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

function golden(pathname) {
  if (!pathname.startsWith("/tests/goldens/")) throw new Error("not served");
  return readFile(join(ROOT, pathname));
}
