// A network in half the bytes: a checkpoint of the network alone, its weights in 16 bits.

import { halfBytes } from "../../nn/formats/element_types.ts";
import { arrayBytes, type SafetensorsType } from "../../nn/formats/safetensors.ts";
import { stateOf } from "../../nn/formats/weights.ts";
import type { RunConfig } from "../config/settings.ts";
import { writeFileAtomic } from "../base/atomic_file.ts";
import { digestOf } from "../base/digest.ts";
import { checkOther } from "../base/real_path.ts";
import { Checkpoint, checkpointBytes } from "./checkpoint.ts";
import { weightsFault } from "./weights_fault.ts";
import { openUnverified } from "./weights_file.ts";

/** What was written. */
export interface WrittenNetwork {
  /** The stage that trained it. */
  readonly stage: string;
  /** Optimiser updates of that stage. */
  readonly step: number;
  /** Bytes of the file. */
  readonly bytes: number;
  /** SHA-256 of the file, in hexadecimal digits. */
  readonly sha256: string;
}

/** What a checkpoint says beside its arrays, as far as it matters here. */
interface State {
  readonly stage: string;
  readonly step: number;
  readonly config: RunConfig;
}

/**
 * Writes the network of a checkpoint as a smaller one, which can be measured, predict, be exported and be
 * started from, but no run can go on with it: without optimisers and other networks, and in numbers of 16
 * bits. An array with numbers too large for them keeps its 32.
 *
 * @param configOf Makes the configuration that it holds out of that of the checkpoint's run.
 * @throws {DataError} If the checkpoint cannot be read, is damaged or holds NaN or an infinity, or the file
 * cannot be written.
 */
export function writeHalfCheckpoint(
  path: string,
  output: string,
  configOf: (config: RunConfig) => RunConfig,
): WrittenNetwork {
  checkOther(path, output);
  using checkpoint = new Checkpoint(path); // verifies every byte
  using file = openUnverified(path);
  const { files: _, ...state } = checkpoint.state as State & { readonly files?: string };
  const arrays = [...stateOf(file.weights, "network.")].map(([name, { shape, floats }]) => {
    const values = numbersOf(path, floats);
    const half = halfBytes(values);
    const dtype: SafetensorsType = half ? "F16" : "F32";
    return { name: `network.${name}`, shape, dtype, data: half ?? arrayBytes(values.slice()) };
  });
  // Wider types first, so that every array lies aligned for its type.
  arrays.sort((a, b) => Number(a.dtype === "F16") - Number(b.dtype === "F16"));
  const config = configOf(state.config);
  const bytes = checkpointBytes(arrays, { ...state, config, best: null });
  writeFileAtomic(output, [bytes]);
  const { stage, step } = state;
  return { stage, step, bytes: bytes.length, sha256: digestOf(bytes) };
}

function numbersOf(path: string, floats: () => Float32Array): Float32Array {
  try {
    return floats();
  } catch (error) {
    throw weightsFault(path, error);
  }
}
