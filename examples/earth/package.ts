/**
 * Files of an npm package: fetched, compared with the package's hash, and unpacked in memory. Nothing
 * of the package is run.
 */
import { DataError, describeFailure } from "../../train/base/data_error.ts";

/** A package of the registry, as `npm view NAME@VERSION dist` shows it. */
export interface Package {
  /** Where its archive is. */
  readonly url: string;
  /** SHA-512 of the archive, in base64. */
  readonly sha512: string;
  /** A path at which the archive is looked for first, for machines without the network. */
  readonly local: string;
}

/**
 * Reads files of a package.
 *
 * @param names Paths within the package.
 * @returns The files, in the order of the names.
 * @throws {DataError} If the archive cannot be had, is another one, or lacks a file.
 */
export async function readPackage(
  { url, sha512, local }: Package,
  names: readonly string[],
): Promise<Uint8Array<ArrayBuffer>[]> {
  const archive = readLocal(local) ?? await fetchArchive(url, local);
  const found = new Uint8Array(await crypto.subtle.digest("SHA-512", archive)).toBase64();
  if (found !== sha512) {
    throw new DataError(
      `Cannot use the archive of ${url} as its SHA-512 is ${found}: expected ${sha512}; ` +
        `remove ${local} if it is there, and try again`,
    );
  }
  const files = await unpack(archive);
  return names.map((name) => {
    const file = files.get(`package/${name}`);
    if (file) return file;
    throw new DataError(`Cannot use the archive of ${url} as it lacks ${name}: correct the name`);
  });
}

function readLocal(path: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function fetchArchive(url: string, local: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const response = await fetch(url);
    if (response.ok) return await response.bytes();
    throw new Error(`the server answers ${response.status}`);
  } catch (error) {
    throw new DataError(
      `Cannot fetch ${url} as ${describeFailure(error)}: expected an answer of the registry; ` +
        `try again, or put the file that "npm pack" gives at ${local}`,
      { cause: error },
    );
  }
}

/** The files of a gzipped tar archive: headers of 512 bytes, contents padded to a multiple of that. */
async function unpack(
  archive: Uint8Array<ArrayBuffer>,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const unzipped = new Blob([archive]).stream().pipeThrough(new DecompressionStream("gzip"));
  const tar = await new Response(unzipped).bytes();
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const text = (from: number, length: number) =>
    new TextDecoder().decode(tar.subarray(from, from + length)).split("\0")[0];
  for (let at = 0; tar[at];) { // a name that is empty ends the archive
    const size = parseInt(text(at + 124, 12), 8);
    files.set(text(at, 100), tar.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}
