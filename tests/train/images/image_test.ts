import assert from "node:assert/strict";
import { decode, encode } from "fast-png";
import {
  decodeImage,
  decodeLabel,
  encodeImage,
  encodeLabel,
  readImage,
  readPngHeader,
} from "../../../train/images/image.ts";
import { parsePngHeader } from "../../../train/images/png.ts";
import { dataError, withFolder } from "../_folder.ts";
import { palettePng, rawPng } from "../_png.ts";

const WIDTH = 5;
const HEIGHT = 3;
const colours = Uint8Array.from({ length: WIDTH * HEIGHT * 3 }, (_, i) => (i * 37) % 256);
const image = { data: colours, width: WIDTH, height: HEIGHT };

Deno.test("an RGB image survives encoding, and another decoder reads the same pixels", () => {
  const bytes = encodeImage(image);
  assert.deepEqual(decodeImage(bytes, "a.png"), image);
  const other = decode(bytes, { checkCrc: true });
  assert.deepEqual([...other.data], [...colours]);
  assert.deepEqual([other.width, other.height, other.channels, other.depth], [5, 3, 3, 8]);
});

Deno.test("an RGB image written by another encoder is decoded, also from the middle of a buffer", () => {
  const bytes = encode({ ...image, channels: 3, depth: 8 });
  const shifted = new Uint8Array(bytes.length + 7);
  shifted.set(bytes, 7);
  assert.deepEqual(decodeImage(shifted.subarray(7), "a.png"), image);
});

Deno.test("alpha is dropped, grey is repeated and 16-bit samples are rounded to 8", () => {
  const rgba = encode({
    width: 2,
    height: 1,
    channels: 4,
    data: Uint8Array.of(1, 2, 3, 0, 4, 5, 6, 255),
  });
  assert.deepEqual([...decodeImage(rgba, "a.png").data], [1, 2, 3, 4, 5, 6]);
  const grey = encode({ width: 2, height: 1, channels: 1, data: Uint8Array.of(9, 200) });
  assert.deepEqual([...decodeImage(grey, "a.png").data], [9, 9, 9, 200, 200, 200]);
  const greyAlpha = encode({ width: 2, height: 1, channels: 2, data: Uint8Array.of(9, 1, 7, 2) });
  assert.deepEqual([...decodeImage(greyAlpha, "a.png").data], [9, 9, 9, 7, 7, 7]);
  const deep = encode({
    width: 1,
    height: 2,
    channels: 3,
    depth: 16,
    data: Uint16Array.of(0, 257, 65535, 128, 129, 256),
  });
  assert.deepEqual([...decodeImage(deep, "a.png").data], [0, 1, 255, 0, 1, 1]);
});

Deno.test("a palette image is looked up, also with 2 bits a pixel and padded rows", () => {
  const palette = [[10, 11, 12], [20, 21, 22], [30, 31, 32]];
  const bytes = rawPng({
    width: 5,
    height: 2,
    depth: 2,
    colourType: 3,
    rows: [0, 0b00011000, 0b01000000, 0, 0b10100000, 0b10000000],
    palette,
  });
  const ids = [0, 1, 2, 0, 1, 2, 2, 0, 0, 2];
  assert.deepEqual([...decodeLabel(bytes, "l.png").data], ids);
  assert.deepEqual([...decodeImage(bytes, "l.png").data], ids.flatMap((id) => palette[id]));
});

Deno.test("a grey label gives its values at 1, 8 and 16 bits", () => {
  const one = rawPng({ width: 3, height: 1, depth: 1, colourType: 0, rows: [0, 0b10100000] });
  assert.deepEqual([...decodeLabel(one, "l.png").data], [1, 0, 1]);
  const eight = encodeLabel({ width: 3, height: 1, data: Uint8Array.of(0, 18, 255) });
  assert.deepEqual([...decodeLabel(eight, "l.png").data], [0, 18, 255]);
  const deep = encode({
    width: 2,
    height: 1,
    channels: 1,
    depth: 16,
    data: Uint16Array.of(7, 26001),
  });
  assert.deepEqual([...decodeLabel(deep, "l.png").data], [7, 26001]);
});

Deno.test("a palette image is its ids as a label, and its colours as an image", () => {
  const label = { width: 2, height: 2, data: Uint8Array.of(0, 1, 1, 0) };
  const bytes = palettePng(label, [[1, 2, 3], [4, 5, 6]]);
  assert.deepEqual({ ...decodeLabel(bytes, "l.png") }, label);
  assert.deepEqual([...decodeImage(bytes, "l.png").data], [1, 2, 3, 4, 5, 6, 4, 5, 6, 1, 2, 3]);
});

Deno.test("a colour image is refused as a label, with its name", () => {
  assert.throws(() => decodeLabel(encodeImage(image), "x/l.png"), dataError("x/l.png"));
});

Deno.test("a palette that only advises is not looked up, one that is missing is reported", () => {
  const advised = rawPng({
    width: 1,
    height: 1,
    depth: 8,
    colourType: 6,
    rows: [0, 7, 8, 9, 255],
    palette: [[1, 2, 3]],
  });
  assert.deepEqual([...decodeImage(advised, "a.png").data], [7, 8, 9]);
  const bare = rawPng({ width: 1, height: 1, depth: 8, colourType: 3, rows: [0, 0] });
  assert.throws(
    () => decodeLabel(bare, "bare.png"),
    dataError("bare.png as its palette is missing"),
  );
});

Deno.test("a palette index without a colour is refused", () => {
  const bytes = rawPng({
    width: 2,
    height: 1,
    depth: 8,
    colourType: 3,
    rows: [0, 0, 9],
    palette: [[1, 2, 3]],
  });
  assert.throws(() => decodeImage(bytes, "p.png"), dataError("palette index 9"));
});

Deno.test("a gigapixel header is refused from 33 bytes, before anything is decoded", () => {
  const bytes = rawPng({ width: 40000, height: 40000, depth: 8, colourType: 2, rows: [0] });
  const message = dataError("big.png as its header declares 40000×40000 pixels");
  assert.throws(() => parsePngHeader(bytes.subarray(0, 33), "big.png"), message);
  assert.throws(() => decodeImage(bytes, "big.png"), message);
  const empty = rawPng({ width: 0, height: 4, depth: 8, colourType: 2, rows: [] });
  assert.throws(() => decodeImage(empty, "zero.png"), dataError("declares 0×4 pixels"));
});

Deno.test("a file cut anywhere is refused by name and never decoded to wrong pixels", () => {
  const bytes = encodeImage(image);
  for (let length = 0; length < bytes.length; length++) {
    const cut = bytes.subarray(0, length);
    const reason = length < 8 ? "" : "as it is truncated";
    assert.throws(() => decodeImage(cut, "cut.png"), dataError("Cannot read cut.png", reason));
  }
});

Deno.test("a flipped bit in the pixel data is refused by name", () => {
  const bytes = encodeImage(image);
  bytes[bytes.length - 20] ^= 4;
  assert.throws(
    () => decodeImage(bytes, "bad.png"),
    dataError("bad.png as its PNG data is damaged"),
  );
});

Deno.test("rows missing from intact pixel data are refused", () => {
  const bytes = rawPng({ width: 2, height: 3, depth: 8, colourType: 0, rows: [0, 1, 2, 0, 3, 4] });
  assert.throws(() => decodeLabel(bytes, "short.png"), dataError("short.png"));
});

Deno.test("what is no PNG, what is empty and what cannot be decoded rightly is refused", () => {
  const jpeg = Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 16, 74, 70, 73, 70);
  assert.throws(() => decodeImage(jpeg, "a.png"), dataError("convert it to PNG"));
  assert.throws(() => decodeImage(new Uint8Array(0), "a.png"), dataError("it is empty"));
  const interlaced = rawPng({
    width: 9,
    height: 9,
    depth: 4,
    colourType: 0,
    rows: [],
    interlaced: true,
  });
  assert.throws(() => decodeLabel(interlaced, "a.png"), dataError("interlaced with 4 bits"));
});

Deno.test("files are read by path, and an unreadable one is named", () =>
  withFolder((folder) => {
    Deno.writeFileSync(`${folder}/größe 1.png`, encodeImage(image));
    assert.deepEqual(readImage(`${folder}/größe 1.png`), image);
    assert.deepEqual(readPngHeader(`${folder}/größe 1.png`), {
      width: 5,
      height: 3,
      depth: 8,
      colourType: 2,
      interlaced: false,
    });
    assert.throws(() => readImage(`${folder}/no.png`), dataError("no.png as it does not exist"));
    assert.throws(() => readImage(folder), dataError(folder, "as it is a folder"));
  }));
