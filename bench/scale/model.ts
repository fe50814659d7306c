// A training step on many GPUs, on paper: what `bench:scale` measures here, carried to more GPUs and other
// networks by the textbook's costs. Times are in milliseconds, bytes per millisecond are rates.

import { BUCKET_BYTES } from "../../kernels/runtime/on_host.ts";

/** What a GPU computes between two reductions, and what is reduced. */
export interface Work {
  /** Of a step, without what other GPUs cause. */
  readonly compute: number;
  /** Of all gradients, as 32-bit floats. */
  readonly gradientBytes: number;
  /** Small sums that the GPU waits for in the middle, such as those of batch norms. */
  readonly smallSums: number;
}

/** How fast numbers come from a GPU's memory to the network and back. */
export interface Host {
  /** Gradient bytes from the GPU's memory to the host's and back, without a reduction. */
  readonly staged: number;
  /** A small sum without a network: the GPU runs empty, the host answers. */
  readonly smallSum: number;
  /** Making halves of 32-bit floats, adding them up and making floats of them: bytes of floats. */
  readonly halved: number;
}

/** What connects the GPUs; each has that much for itself. */
export interface Network {
  /** Bytes in each direction. */
  readonly rate: number;
  /** From one host to another. */
  readonly latency: number;
}

/** The rate of a network of so many gigabits per second. */
export const gigabits = (count: number): number => count * 1e9 / 8 / 1000;

/**
 * When gradients are reduced: `after` they have come to the host, and before any goes back; in `buckets`,
 * as it is done: one is reduced while others are copied; or during the `backward`, too, while the GPU
 * computes the gradients of earlier layers.
 */
export type Overlap = "after" | "buckets" | "backward";

/** The share of a step's computing that the backward takes: the forward's twice. */
const BACKWARD = 2 / 3;

/** Milliseconds of a step, and of that what other GPUs cause. */
export interface ModelledStep {
  readonly step: number;
  readonly reduction: number;
}

/**
 * A step of `ranks` GPUs, each with a batch of its own. A reduction sends 2 (N - 1) / N times its bytes in
 * each direction in 2 log2 N messages (Rabenseifner's algorithm: Thakur, Rabenseifner and Gropp, 2005).
 *
 * @param halves Whether gradients travel as 16-bit floats.
 */
export function modelStep(
  { compute, gradientBytes, smallSums }: Work,
  { staged, smallSum, halved }: Host,
  { rate, latency }: Network,
  { ranks, overlap, halves = false }: {
    readonly ranks: number;
    readonly overlap: Overlap;
    readonly halves?: boolean;
  },
): ModelledStep {
  if (ranks === 1) return { step: compute, reduction: 0 };
  const messages = 2 * Math.ceil(Math.log2(ranks)) * latency;
  const buckets = Math.max(1, Math.ceil(gradientBytes / BUCKET_BYTES));
  const sent = 2 * (ranks - 1) / ranks * gradientBytes;
  const staging = gradientBytes / staged;
  // Halves are made between the messages of their bucket: neither waits for the other's sake.
  const reducing = buckets * messages +
    (halves ? sent / 2 / rate + gradientBytes / halved : sent / rate);
  const piped = Math.max(staging, reducing) + Math.min(staging, reducing) / buckets;
  const gradients = {
    after: staging + reducing,
    buckets: piped,
    backward: Math.max(piped / buckets, piped - BACKWARD * compute),
  }[overlap];
  const reduction = smallSums * (smallSum + messages) + gradients;
  return { step: compute + reduction, reduction };
}

/** The rate of a network beyond which a faster one gains nothing, as gradients come no faster by way of the host. */
export function limitOfStaging({ staged }: Host, ranks: number): number {
  return 2 * (ranks - 1) / ranks * staged;
}
