// One file of soft labels: whose they are and a digest stand in its metadata, and both count when it is read.

import { formatShape, sameShape } from "../../../kernels/runtime/mod.ts";
import { Safetensors, writeSafetensors } from "../../../nn/formats/safetensors.ts";
import { DataError } from "../../base/data_error.ts";
import { describeFailure } from "../../base/refusal.ts";
import { isSealed, seal } from "../../base/digest.ts";
import { NO_DIGEST } from "../../base/digest_place.ts";
import { FileSource } from "../../base/file_source.ts";
import { faultOf, type Probabilities } from "./soft_label_store.ts";

/** What a file should say of itself; what is left out may be anything. */
export interface ExpectedSoftLabel {
  /** The image's name in the data set. */
  readonly name?: string | undefined;
  /** [1, K, height, width]. */
  readonly shape?: readonly number[] | undefined;
  /** The digest that it was written with. */
  readonly digest?: string | undefined;
}

/** What the header of a file says of it; files of earlier versions say neither name nor digest. */
export interface SoftLabelHeader {
  readonly name: string | undefined;
  readonly digest: string | undefined;
}

const ARRAY = "probabilities";

/** The bytes of a file, and the digest in it. */
export function encodeSoftLabel(
  name: string,
  probabilities: Probabilities,
): { bytes: Uint8Array; digest: string } {
  const metadata = { image: name, sha256: NO_DIGEST };
  const bytes = writeSafetensors(new Map([[ARRAY, probabilities]]), metadata);
  return { bytes, digest: seal(bytes) };
}

/**
 * Reads what a file says of itself, and nothing else.
 *
 * @throws {DataError} If that is not what is expected, or the file is damaged.
 */
export function readSoftLabelHeader(
  path: string,
  expected: ExpectedSoftLabel = {},
): SoftLabelHeader {
  return attempt(path, () => {
    using source = new FileSource(path);
    return checkHeader(path, new Safetensors(source), expected);
  });
}

/**
 * Reads a whole file.
 *
 * @param isKnown Whether the file has been read before, and its content need not be checked again.
 * @throws {DataError} If it is not what is expected, is damaged, or holds no probabilities.
 */
export function readSoftLabel(
  path: string,
  expected: ExpectedSoftLabel,
  isKnown: boolean,
): Probabilities {
  return attempt(path, () => {
    using source = new FileSource(path);
    const bytes = new Uint8Array(source.size);
    source.read(0, bytes);
    const file = new Safetensors(bytes);
    const { digest } = checkHeader(path, file, expected);
    const { shape } = file.entry(ARRAY);
    const data = file.floats(ARRAY);
    if (isKnown) return { shape, data };
    if (digest !== undefined && !isSealed(bytes, digest)) {
      throw softLabelFault(path, "its content does not match its digest");
    }
    const fault = faultOf({ shape, data });
    if (fault !== null) throw softLabelFault(path, fault);
    return { shape, data };
  });
}

function checkHeader(
  path: string,
  { metadata, entries }: Safetensors,
  expected: ExpectedSoftLabel,
): SoftLabelHeader {
  const [name, digest] = [metadata.get("image"), metadata.get("sha256")];
  if (name !== undefined && digest === undefined) throw softLabelFault(path, "it has no digest");
  const entry = entries.get(ARRAY);
  if (!entry) throw softLabelFault(path, `it holds no ${ARRAY}`);
  if (name !== undefined && expected.name !== undefined && name !== expected.name) {
    throw softLabelFault(path, `it is of the image ${name}: expected that of ${expected.name}`);
  }
  if (expected.digest !== undefined && digest !== expected.digest) {
    throw softLabelFault(path, "it is another file than the stage has learnt from so far");
  }
  const { shape } = entry;
  if (shape.length !== 4 || (expected.shape && !sameShape(shape, expected.shape))) {
    const wanted = expected.shape ? formatShape(expected.shape) : "[1, classes, height, width]";
    throw softLabelFault(path, `its shape is ${formatShape(shape)}: expected ${wanted}`);
  }
  return { name, digest };
}

/** The sentence about a file, with the way out. */
export function softLabelFault(path: string, reason: string, cause?: unknown): DataError {
  return new DataError(
    `Cannot use soft labels ${path} as ${reason}; remove the file and resume the run, which makes soft ` +
      `labels again where some are missing`,
    { cause, options: ["resume"] },
  );
}

function attempt<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof DataError) throw error;
    const isMissing = error instanceof Deno.errors.NotFound;
    const reason = describeFailure(error);
    throw softLabelFault(path, isMissing ? reason : `it is damaged (${reason})`, error);
  }
}
