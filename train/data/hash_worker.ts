// Reads files for their digests, off the main thread. Started by fingerprint.ts.

/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />

import { digestOfFile } from "../base/digest.ts";

/** The digest of one of the paths that were asked for; null where it cannot be read. */
export interface HashReply {
  /** The path's place in the list. */
  at: number;
  digest: string | null;
}

self.onmessage = ({ data: paths }: MessageEvent<readonly string[]>) => {
  for (const [at, path] of paths.entries()) {
    let digest: string | null;
    try {
      digest = digestOfFile(path);
    } catch {
      digest = null; // whoever reads it for its pixels will say so
    }
    self.postMessage({ at, digest } satisfies HashReply);
  }
};
