// Image files that are damaged, that lie or that are made to take memory or time.

import assert from "node:assert/strict";
import { deflateSync } from "node:zlib";
import { decode } from "fast-png";
import { join } from "node:path";
import { decodeImage, readImage, readImageSize } from "../../../train/images/image.ts";
import { decodeJpeg, loadJpegCodec } from "../../../train/images/jpeg.ts";
import { decodePng } from "../../../train/images/png.ts";
import { Random } from "../../../nn/random.ts";
import golden from "../../goldens/jpeg.json" with { type: "json" };
import { dataError, withFolder } from "../_folder.ts";
import { chunk, rawPng } from "../_png.ts";

/** A PNG of 2×2 grey pixels; `change` gets its chunks by name and gives those to write. */
function png(change: (chunks: Record<string, Uint8Array>) => Uint8Array[]): Uint8Array {
  const header = Uint8Array.of(0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 0);
  const parts = change({
    IHDR: chunk("IHDR", header),
    IDAT: chunk("IDAT", deflateSync(Uint8Array.of(0, 1, 2, 0, 3, 4))),
    IEND: chunk("IEND", new Uint8Array()),
  });
  return bytesOf([Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), ...parts]);
}

function bytesOf(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Pixel data of a hundred megabytes in a hundred thousand bytes. */
const bomb = () => new Uint8Array(deflateSync(new Uint8Array(1e8)));

/** Runs `body` and says that it took less than two seconds, which the whole file does when it is read. */
function quickly(body: () => void): void {
  const start = performance.now();
  body();
  assert.ok(performance.now() - start < 2000, `${performance.now() - start} ms`);
}

const REFUSED: readonly (readonly [why: string, file: () => Uint8Array, part: string])[] = [
  [
    "pixel data is longer than its header says",
    () => png(({ IHDR, IEND }) => [IHDR, chunk("IDAT", bomb()), IEND]),
    "of 2×2 pixels, its pixel data cannot be inflated, as it comes to more than 6 bytes",
  ],
  [
    "pixel data is shorter than its header says",
    () => png(({ IHDR, IEND }) => [IHDR, chunk("IDAT", deflateSync(new Uint8Array(5))), IEND]),
    "inflates to 5 bytes and claims 6",
  ],
  [
    "a small file claims a hundred million pixels",
    () =>
      rawPng({ width: 10_000, height: 10_000, depth: 8, colourType: 2, rows: new Uint8Array(99) }),
    "cannot inflate from",
  ],
  [
    "a second header follows",
    () => png(({ IHDR, IDAT, IEND }) => [IHDR, IHDR, IDAT, IEND]),
    "it has a second header",
  ],
  [
    "a second palette follows",
    () =>
      png(({ IHDR, IDAT, IEND }) => {
        const palette = chunk("PLTE", new Uint8Array(6));
        return [IHDR, palette, palette, IDAT, IEND];
      }),
    "it has a second palette",
  ],
  [
    "the Adler-32 of its pixel data is wrong",
    () =>
      png(({ IHDR, IEND }) => {
        const data = new Uint8Array(deflateSync(Uint8Array.of(0, 1, 2, 0, 3, 4)));
        data[data.length - 1] ^= 1;
        return [IHDR, chunk("IDAT", data), IEND];
      }),
    "incorrect data check",
  ],
  [
    "a checksum is wrong",
    () =>
      png(({ IHDR, IDAT, IEND }) => {
        const text = chunk("tEXt", new Uint8Array(9));
        text[12] ^= 1;
        return [IHDR, text, IDAT, IEND];
      }),
    'its chunk "tEXt" does not match its checksum',
  ],
  [
    "a row is filtered by no known method",
    () =>
      png(({ IHDR, IEND }) => {
        return [IHDR, chunk("IDAT", deflateSync(Uint8Array.of(0, 1, 2, 5, 3, 4))), IEND];
      }),
    "has a row that is filtered by method 5",
  ],
  [
    "it has no pixel data",
    () => png(({ IHDR, IEND }) => [IHDR, IEND]),
    "its PNG data is damaged",
  ],
  [
    "its header names an unknown method",
    () =>
      png(({ IDAT, IEND }) => {
        const header = Uint8Array.of(0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 1, 0);
        return [chunk("IHDR", header), IDAT, IEND];
      }),
    "its PNG header is damaged",
  ],
];

for (const [why, file, part] of REFUSED) {
  Deno.test(`a PNG is refused where ${why}`, () => {
    const bytes = file();
    quickly(() => assert.throws(() => decodeImage(bytes, "a.png"), dataError("a.png as", part)));
  });
}

Deno.test("colour profiles and texts of a PNG are passed over, whatever they inflate to", () => {
  const profile = chunk("iCCP", bytesOf([Uint8Array.of(120, 0, 0), bomb()]));
  const text = chunk("zTXt", bytesOf([Uint8Array.of(120, 0, 0), bomb().subarray(0, 50_000)]));
  const bytes = png(({ IHDR, IDAT, IEND }) => [IHDR, profile, text, IDAT, IEND]);
  quickly(() => {
    assert.deepEqual([...decodeImage(bytes, "a.png").data], [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
  });
});

Deno.test("pixel data in many chunks, some of them empty, is one stream", () => {
  const data = new Uint8Array(deflateSync(Uint8Array.of(0, 1, 2, 0, 3, 4)));
  const bytes = png(({ IHDR, IEND }) => [
    IHDR,
    chunk("IDAT", new Uint8Array()),
    ...Array.from(data, (byte) => chunk("IDAT", Uint8Array.of(byte))),
    IEND,
  ]);
  assert.deepEqual([...decodePng(bytes, "a.png").samples], [1, 2, 3, 4]);
});

Deno.test("rows of every filter, depth and kind, interlaced too, are another decoder's pixels", () => {
  const random = new Random(1, "png");
  const channels: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
  const palette = Array.from({ length: 256 }, (_, k) => [k, 255 - k, k ^ 7]);
  // How many of `length` pixels a pass of Adam7 takes.
  const taken = (length: number, first: number, step: number) =>
    Math.max(0, Math.ceil((length - first) / step));
  const passes = [
    ...[[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4]],
    ...[[1, 0, 2, 2], [0, 1, 1, 2]],
  ];
  for (let round = 0; round < 300; round++) {
    const colourType = [0, 2, 3, 4, 6][random.below(5)];
    const interlaced = random.below(3) === 0;
    const small = interlaced || ![0, 3].includes(colourType) ? [] : [1, 2, 4];
    const depths = [...small, 8, ...(colourType === 3 ? [] : [16])];
    const depth = depths[random.below(depths.length)];
    const [width, height] = [1 + random.below(19), 1 + random.below(19)];
    const rows: number[] = [];
    for (const [x, y, stepX, stepY] of interlaced ? passes : [[0, 0, 1, 1]]) {
      const bits = taken(width, x, stepX) * depth * channels[colourType];
      for (let row = 0; bits > 0 && row < taken(height, y, stepY); row++) {
        rows.push(random.below(5));
        for (let i = 0; i < Math.ceil(bits / 8); i++) rows.push(random.below(256));
      }
    }
    const bytes = rawPng({
      ...{ width, height, depth, colourType, rows, interlaced },
      ...(colourType === 3 && { palette }),
    });
    const { data } = decode(bytes);
    const { samples } = decodePng(bytes, "a.png");
    const what = `type ${colourType}, ${depth} bits, ${width}×${height}, ${interlaced}`;
    if (depth >= 8) {
      assert.deepEqual([...samples], [...data], what);
    } else { // the other decoder leaves them packed
      const rowBytes = Math.ceil(width * depth / 8);
      for (let i = 0; i < width * height; i++) {
        const [x, y] = [i % width * depth, Math.floor(i / width)];
        const byte = data[y * rowBytes + (x >> 3)];
        assert.equal(samples[i], byte >> (8 - depth - x % 8) & (2 ** depth - 1), what);
      }
    }
  }
});

function jpeg(name: keyof typeof golden.files): Uint8Array {
  return Uint8Array.from(atob(golden.files[name].file), (letter) => letter.charCodeAt(0));
}

/** Where a marker stands. */
function markers(bytes: Uint8Array, code: number): number[] {
  return [...bytes.keys()].filter((at) => bytes[at] === 0xff && bytes[at + 1] === code);
}

/** The file with another size, and comments that make it longer. */
function resized(file: Uint8Array, width: number, height: number, comments: number): Uint8Array {
  const bytes = file.slice();
  const [at] = [0xc0, 0xc2].flatMap((code) => markers(bytes, code));
  bytes.set([height >> 8, height & 255, width >> 8, width & 255], at + 5);
  const comment = new Uint8Array(65_537);
  comment.set([0xff, 0xfe, 0xff, 0xff]);
  return bytesOf([
    bytes.subarray(0, 2),
    ...Array.from({ length: comments }, () => comment),
    bytes.subarray(2),
  ]);
}

Deno.test("among hundreds of broken JPEG files every good one is decoded, and no broken one", async () => {
  await loadJpegCodec();
  const good = jpeg("baseline");
  const pixels = Uint8Array.from(atob(golden.files.baseline.pixels), (c) => c.charCodeAt(0));
  const table = markers(good, 0xc4)[0];
  for (let i = 0; i < 300; i++) {
    const [length] = [20 + i * 7 % (good.length - 22)];
    const cut = good.slice(0, length);
    assert.throws(() => decodeJpeg(cut, "cut.jpg"), dataError("cut.jpg as it is truncated"));
    // Cut, and closed again: the decoder itself finds it.
    const closed = bytesOf([cut, Uint8Array.of(0xff, 0xd9)]);
    assert.throws(() => decodeJpeg(closed, "closed.jpg"), dataError("closed.jpg as"));
    const bogus = good.slice();
    bogus.fill(0xfe, table + 5, table + 21);
    assert.throws(() => decodeJpeg(bogus, "table.jpg"), dataError("table.jpg as", "damaged"));
    if (i % 3 === 0) assert.deepEqual(decodeJpeg(good, `${i}.jpg`).data, pixels);
  }
});

const SLOW: readonly (readonly [why: string, file: () => Uint8Array, part: string])[] = [
  [
    "five million fill bytes follow its start",
    () => bytesOf([Uint8Array.of(0xff, 0xd8), new Uint8Array(5e6).fill(0xff)]),
    "is truncated",
  ],
  [
    "a million empty segments follow its start",
    () => {
      const bytes = new Uint8Array(4e6 + 2);
      for (let i = 2; i < bytes.length; i += 4) bytes.set([0xff, 0xe0, 0, 2], i);
      bytes.set([0xff, 0xd8]);
      return bytes;
    },
    "is truncated",
  ],
  [
    "a million segments follow, a fill byte before each",
    () => {
      const bytes = new Uint8Array(5e6 + 2);
      for (let i = 2; i < bytes.length; i += 5) bytes.set([0xff, 0xff, 0xe0, 0, 2], i);
      bytes.set([0xff, 0xd8]);
      return bytes;
    },
    "is truncated",
  ],
  [
    "its pixels are gone over thousands of times",
    () => {
      const file = jpeg("progressive");
      const [, second, third] = markers(file, 0xda);
      const scan = file.subarray(second, third);
      const scans = Array.from({ length: 3000 }, () => scan);
      return resized(
        bytesOf([file.subarray(0, second), ...scans, file.subarray(second)]),
        4000,
        4000,
        0,
      );
    },
    "more than 100 times",
  ],
  [
    "a kilobyte claims a hundred million pixels",
    () => resized(jpeg("baseline"), 65_000, 2_000, 0),
    "bytes cannot hold the 65000×2000 pixels",
  ],
];

for (const [why, file, part] of SLOW) {
  Deno.test(`a JPEG is refused quickly where ${why}`, () =>
    withFolder(async (folder) => {
      await loadJpegCodec();
      const path = join(folder, "a.jpg");
      Deno.writeFileSync(path, file());
      quickly(() => assert.throws(() => readImage(path), dataError(path, part)));
      quickly(() => {
        try {
          readImageSize(path);
        } catch (error) {
          dataError(path)(error);
        }
      });
    }));
}

Deno.test("a JPEG's header is found behind megabytes of metadata", () =>
  withFolder((folder) => {
    const path = join(folder, "a.jpg");
    Deno.writeFileSync(path, resized(jpeg("grey"), 17, 11, 40));
    assert.deepEqual(readImageSize(path), { width: 17, height: 11, channels: 1 });
  }));
