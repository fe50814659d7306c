// What the header of a checkpoint says of itself, whether it lies in a file or in memory.

import { DataError } from "../base/data_error.ts";

/** The version of the names and of the state; a reader refuses others. */
export const VERSION = "1";

/** A checkpoint whose bytes are not what was written: it is of no use to anyone. */
export class DamagedCheckpointError extends DataError {}

/** A checkpoint whose bytes have another digest than it claims. */
export function unlikeDigest(path: string, found: string): DamagedCheckpointError {
  const reason = `its content does not match its digest: found ${found}`;
  return new DamagedCheckpointError(sentence(path, reason));
}

/**
 * Refuses what has no digest, or one that this version may not know: weights of other programs, and
 * checkpoints of later versions.
 */
export function checkVersion(path: string, metadata: ReadonlyMap<string, string>): void {
  const isOther = !metadata.has("checkpoint") && !metadata.has("sha256");
  const isLater = Number(metadata.get("checkpoint")) > Number(VERSION);
  if (isOther || isLater) throw otherVersion(path, metadata);
}

/** A checkpoint of a version that is not read here. */
export function otherVersion(path: string, metadata: ReadonlyMap<string, string>): DataError {
  const version = metadata.get("checkpoint");
  const found = version === undefined ? "no checkpoint metadata" : `version ${version}`;
  return new DataError(sentence(path, `it has ${found}: expected version ${VERSION}`));
}

/** The sentence of a checkpoint that cannot be opened. */
export function sentence(path: string, reason: string): string {
  return `Cannot open checkpoint ${path} as ${reason}; give a checkpoint that a training has written`;
}
