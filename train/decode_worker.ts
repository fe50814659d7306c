// Decodes files off the main thread, which the GPU blocks while it computes. Started by loader.ts.

/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />

import { DataError } from "./data_error.ts";
import { type DatasetItem, type DecodedItem, decodeItem } from "./dataset.ts";
import { isJpegPath, loadJpegCodec } from "./jpeg.ts";
import type { LabelCode } from "./label_code.ts";

/** One file pair to decode. */
export interface DecodeRequest {
  /** Returned with the answer. */
  id: number;
  /** The files. */
  item: DatasetItem;
  /** Train ids by label id, or null to leave labels unread. */
  trainIds: readonly number[] | null;
  /** How the label file holds label ids. */
  code: LabelCode | undefined;
}

/** What became of a request: the pixels, or why there are none. */
export type DecodeReply =
  | { id: number; decoded: DecodedItem }
  | { id: number; message: string; isDataError: boolean };

self.onmessage = async ({ data }: MessageEvent<DecodeRequest>) => {
  const { id, item, trainIds, code } = data;
  try {
    if (isJpegPath(item.image)) await loadJpegCodec();
    const decoded = decodeItem(item, trainIds, code);
    const buffers = [decoded.image.data.buffer];
    if (decoded.label) buffers.push(decoded.label.data.buffer);
    reply({ id, decoded }, buffers);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    reply({ id, message, isDataError: error instanceof DataError });
  }
};

function reply(message: DecodeReply, buffers: ArrayBuffer[] = []): void {
  self.postMessage(message, buffers);
}
