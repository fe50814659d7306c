// Decodes files, and renders views of them, off the main thread, which the GPU blocks while it
// computes. Started by loader.ts.

/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />

import { type PostedError, postedError } from "../base/thread.ts";
import { type DatasetItem, decodeItem } from "./dataset.ts";
import type { DecodedItem } from "./samples.ts";
import { isJpegPath, loadJpegCodec } from "../images/jpeg.ts";
import type { LabelCode } from "./label_code.ts";
import type { RgbImage } from "../images/rgb.ts";
import { renderTargetViews, type TargetPixels, type ViewOptions } from "../views/target_views.ts";

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
  /** The image, where it is known: the files are then left alone. */
  cached: RgbImage | null;
  /** Views to render, if any, and the position in the stream that they are drawn from. */
  render: { position: number; options: ViewOptions } | null;
}

/** What became of a file pair. */
export interface Decoded {
  id: number;
  /** Null where the image was known. */
  decoded: DecodedItem | null;
  /** Null where no views were wanted. */
  pixels: TargetPixels | null;
}

/** What became of a request: the pixels, or why there are none. */
export type DecodeReply = Decoded | { id: number; error: PostedError };

self.onmessage = async ({ data }: MessageEvent<DecodeRequest>) => {
  const { id, item, trainIds, code, cached, render } = data;
  try {
    if (!cached && isJpegPath(item.image)) await loadJpegCodec();
    const decoded = cached ? null : decodeItem(item, trainIds, code);
    const image = cached ?? decoded?.image;
    const pixels = render && image
      ? renderTargetViews(render.options, render.position, image)
      : null;
    const made = [decoded?.image, decoded?.label, pixels?.weak, pixels?.strong];
    reply({ id, decoded, pixels }, made.flatMap((part) => part ? [part.data.buffer] : []));
  } catch (error) {
    reply({ id, error: postedError(error, item.image) });
  }
};

function reply(message: DecodeReply, buffers: ArrayBuffer[] = []): void {
  self.postMessage(message, buffers);
}
