// A trained network from the bytes of a checkpoint, wherever these come from: a file that a page was
// given, an answer of a server.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import { DeepLab } from "../../nn/deeplab.ts";
import { deepLabShape } from "../../nn/deeplab_shape.ts";
import { Safetensors } from "../../nn/formats/safetensors.ts";
import { stateOf } from "../../nn/formats/weights.ts";
import { WeightsFileError } from "../../nn/formats/weights_error.ts";
import { DataError } from "../base/data_error.ts";
import { indexOfDigest, NO_DIGEST } from "../base/digest_place.ts";
import type { ClassSet } from "../data/class_set.ts";
import {
  checkVersion,
  DamagedCheckpointError,
  otherVersion,
  sentence,
  unlikeDigest,
  VERSION,
} from "./checkpoint_metadata.ts";
import { readClasses } from "./saved_classes.ts";
import { weightsFault } from "./weights_fault.ts";

/** A network in evaluation mode, and what is needed to use it. */
export interface NetworkInMemory extends Disposable {
  /** The network. */
  readonly network: DeepLab;
  /** What it predicts. */
  readonly classes: ClassSet;
  /** What an image's long side is resized to before the network sees it, as in its training. */
  readonly longSide: number;
  /** The stage that saved it. */
  readonly stage: string;
  /** Optimiser updates of that stage. */
  readonly step: number;
}

/** What of a run's configuration a network's weights do not tell. */
interface SavedConfig {
  readonly network: {
    readonly groups: number;
    readonly dilations: readonly number[];
    readonly dropout?: number;
  };
  readonly data: { readonly longSide: number };
}

/**
 * Opens the network of a checkpoint that a training has written, and verifies every byte of it.
 *
 * @param bytes The whole file.
 * @param name What errors call it.
 * @throws {DamagedCheckpointError} If the bytes are not those that were written.
 * @throws {DataError} If they are no checkpoint, one of a later version, or one without such a network.
 */
export async function networkFromBytes(
  gpu: Gpu,
  bytes: Uint8Array<ArrayBuffer>,
  name: string,
): Promise<NetworkInMemory> {
  const file = await openVerified(bytes, name);
  const { state, config } = stateIn(file, name);
  const classes = readClasses(name, state);
  try {
    const { branches: _, ...shape } = deepLabShape((weight) =>
      file.entries.get(`network.${weight}`)?.shape
    );
    const network = new DeepLab(gpu, { ...shape, ...config.network, init: "none" });
    try {
      network.loadStateDict(stateOf(file, "network."), { from: name });
    } catch (error) {
      network.dispose();
      throw error;
    }
    network.eval();
    return {
      network,
      classes,
      longSide: config.data.longSide,
      stage: String(state.stage),
      step: Number(state.step),
      [Symbol.dispose]: () => network.dispose(),
    };
  } catch (error) {
    throw weightsFault(name, error, "give the checkpoint of a whole network");
  }
}

/** The file in these bytes, once they are known to be those that were written. */
async function openVerified(bytes: Uint8Array<ArrayBuffer>, name: string): Promise<Safetensors> {
  let file: Safetensors;
  try {
    file = new Safetensors(bytes);
  } catch (error) {
    if (!(error instanceof WeightsFileError)) throw error;
    throw new DamagedCheckpointError(sentence(name, `it is damaged (${error.reason})`), {
      cause: error,
    });
  }
  checkVersion(name, file.metadata);
  const digest = file.metadata.get("sha256") ?? "";
  const found = await digestWithout(bytes, digest);
  if (found !== digest) throw unlikeDigest(name, found);
  if (file.metadata.get("checkpoint") !== VERSION) throw otherVersion(name, file.metadata);
  return file;
}

/** The SHA-256 of a file with zeros in the place of its digest, in hexadecimal digits. */
async function digestWithout(bytes: Uint8Array<ArrayBuffer>, digest: string): Promise<string> {
  const copy = bytes.slice();
  const at = indexOfDigest(copy, digest);
  if (at >= 0) copy.fill(NO_DIGEST.charCodeAt(0), at, at + digest.length);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", copy));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What a checkpoint says beside its arrays. @throws {DataError} If that lacks what a network needs. */
function stateIn(
  { metadata }: Safetensors,
  name: string,
): { readonly state: Record<string, unknown>; readonly config: SavedConfig } {
  const state = JSON.parse(metadata.get("state") ?? "{}") ?? {};
  const { network, data } = state.config ?? {};
  const { groups, dilations, dropout } = network ?? {};
  const longSide = data?.longSide;
  if (!isCount(groups) || !isCount(longSide) || !Array.isArray(dilations)) {
    throw new DataError(
      sentence(name, "it does not say groups, dilations and long side of its network"),
    );
  }
  const config = {
    network: { groups, dilations, ...(typeof dropout === "number" ? { dropout } : {}) },
    data: { longSide },
  };
  return { state, config };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}
