// TensorBoard's event files: losses, learning rates, scores and sample pictures of a run as it goes.
//
// A file is a row of records: length, checksum of the length, message, checksum of the message. The
// checksums are CRC-32C, rotated and shifted by a constant so that data with checksums in it stays safe.

import { join } from "node:path";
import {
  bytesField,
  doubleField,
  floatField,
  integerField,
  message,
  utf8,
} from "../../nn/formats/protobuf.ts";
import { writeWhole } from "../base/atomic_file.ts";
import { onDisk } from "../base/refusal.ts";
import { exists, readFile } from "../base/folders.ts";
import { readPngHeader } from "../images/image.ts";
import type {
  EvaluationReport,
  PretrainingResult,
  StageResult,
  StageStart,
  StepReport,
  TrainingObserver,
} from "./observer.ts";

/** CRC-32C (Castagnoli), reflected. */
const POLYNOMIAL = 0x82f63b78;
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  return crc;
});

function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
}

function maskedChecksum(bytes: Uint8Array): Uint8Array {
  const crc = crc32c(bytes);
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  const four = new Uint8Array(4);
  new DataView(four.buffer).setUint32(0, masked, true);
  return four;
}

/** One record of a file. */
export function eventRecord(event: Uint8Array): Uint8Array {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(event.length), true);
  return message(length, maskedChecksum(length), event, maskedChecksum(event));
}

/**
 * Writes an event file into the run folder, which TensorBoard opens while the run goes on. A
 * resumed run adds a file of its own. Tags begin with the stage, whose steps count from 0.
 */
export class TensorBoardLog implements TrainingObserver, Disposable {
  readonly #folder: string;
  readonly #now: () => number;
  #file: Deno.FsFile | null = null;

  /**
   * Opens nothing before the first stage starts.
   *
   * @param folder The run folder.
   * @param now Milliseconds since 1970, for the times of events.
   */
  constructor(folder: string, now: () => number = Date.now) {
    this.#folder = folder;
    this.#now = now;
  }

  /** Begins the file, the first time. @throws {DataError} If it cannot be written; so below. */
  stageStart(_: StageStart): void {
    if (this.#file) return;
    const path = join(this.#folder, `events.out.tfevents.${Math.floor(this.#now())}.proda`);
    this.#attempt(() => this.#file = Deno.openSync(path, { write: true, createNew: true }));
    this.#write(bytesField(3, utf8("brain.Event:2")));
  }

  /** Writes the losses and the learning rate. */
  step({ stage, step, losses, learningRate }: StepReport): void {
    const scalars = Object.entries(losses).map(([name, loss]) =>
      scalar(`${stage}/loss/${name}`, loss)
    );
    this.#summary(step, [...scalars, scalar(`${stage}/learning rate`, learningRate)]);
  }

  /** Writes the scores. */
  evaluation({ stage, step, source, ...target }: EvaluationReport): void {
    const sets = [
      [stage, target],
      ...(source ? [[`${stage}/source`, source] as const] : []),
    ] as const;
    const scalars = sets.flatMap(([tag, { mIoU, classIoU, pixelAccuracy }]) => {
      const scores = { mIoU, "pixel accuracy": pixelAccuracy };
      const classes = Object.entries(classIoU).map(([name, iou]) => [`IoU/${name}`, iou] as const);
      const known = [...Object.entries(scores), ...classes].filter((
        entry,
      ): entry is [string, number] => Number.isFinite(entry[1]));
      return known.map(([name, value]) => scalar(`${tag}/${name}`, value));
    });
    this.#summary(step, scalars);
  }

  /** Writes the sample picture of the stage, where there is one. */
  stageEnd({ name, steps }: StageResult | PretrainingResult): void {
    const path = join(this.#folder, "samples", `${name}.png`);
    if (!exists(path)) return;
    const { width, height } = readPngHeader(path);
    const png = readFile(path);
    const image = message(
      integerField(1, height),
      integerField(2, width),
      integerField(3, 3),
      bytesField(4, png),
    );
    this.#summary(steps, [message(bytesField(1, utf8(`${name}/samples`)), bytesField(4, image))]);
  }

  /** Leaves messages to others. */
  message(): void {}

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file?.close();
    this.#file = null;
  }

  #summary(step: number, values: readonly Uint8Array[]): void {
    if (values.length === 0) return;
    const summary = message(...values.map((value) => bytesField(1, value)));
    this.#write(message(integerField(2, step), bytesField(5, summary)));
  }

  #write(fields: Uint8Array): void {
    const event = message(doubleField(1, this.#now() / 1000), fields);
    this.#attempt(() => this.#file && writeWhole(this.#file, eventRecord(event)));
  }

  #attempt(action: () => void): void {
    onDisk(
      `write TensorBoard's events in ${this.#folder}`,
      "make room, or train without them",
      action,
    );
  }
}

function scalar(tag: string, value: number): Uint8Array {
  return message(bytesField(1, utf8(tag)), floatField(2, value));
}
