// Files that a visitor gives the page, by a button, by dropping or by pasting.

import type { Picture } from "../protocol.ts";
import { byId } from "./dom.ts";

/** The longer side of a picture in pixels: larger ones are made smaller when they are opened. */
const LONGEST_SIDE = 2048;

/** Listens for files wherever they are given. */
export function listenForFiles(onFile: (file: File) => void): void {
  const take = (files: FileList | null | undefined) => {
    const [file] = files ?? [];
    if (file) onFile(file);
  };
  for (const id of ["inspect-file", "inspect-checkpoint"]) {
    const input = byId<HTMLInputElement>(id);
    input.addEventListener("change", () => {
      take(input.files);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  const section = byId("look");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    section.toggleAttribute("data-dropping", true);
  });
  document.addEventListener("dragleave", () => section.removeAttribute("data-dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    section.removeAttribute("data-dropping");
    take(event.dataTransfer?.files);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData?.files));
}

/** Decodes an image, whatever the browser can read. */
export async function readPicture(file: File): Promise<Picture> {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(
      `Cannot open ${file.name} as this browser reads no such image: use PNG or JPEG.`,
    );
  });
  const factor = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * factor));
  const height = Math.max(1, Math.round(bitmap.height * factor));
  const picture = { data: pixelsOf(bitmap, width, height), width, height };
  bitmap.close();
  return picture;
}

/** The pixels of an image at a size, three bytes each. */
export function pixelsOf(
  image: ImageBitmap,
  width: number,
  height: number,
): Uint8Array<ArrayBuffer> {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This browser cannot draw on a canvas");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; to < pixels.length; from += 4) {
    pixels[to++] = data[from];
    pixels[to++] = data[from + 1];
    pixels[to++] = data[from + 2];
  }
  return pixels;
}

/** Hands a file to the visitor. */
export function save(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
