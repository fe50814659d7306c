import { strict as assert } from "node:assert";
import { Safetensors, writeSafetensors } from "../../../nn/formats/safetensors.ts";
import { WeightsFileError } from "../../../nn/formats/weights_error.ts";
import type { ByteSource } from "../../../nn/formats/weights_file.ts";

const THIRDS = Float32Array.from({ length: 9 }, (_, index) => Math.fround(index - 4) / 3);

function fixture(): Uint8Array {
  return Deno.readFileSync(new URL("../../goldens/types.safetensors", import.meta.url));
}

/** A file of any header text and data. */
function fileOf(header: string, data = new Uint8Array()): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

function array(dtype: string, shape: string, offsets: string): string {
  return `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;
}

Deno.test("a file written by Python is read with every type", () => {
  const file = new Safetensors(fixture());
  assert.deepEqual([...file.metadata], [["format", "pt"], ["note", 'quote " and \u00fc']]);
  assert.deepEqual([...file.entries.keys()], [
    "single",
    "half",
    "bfloat",
    "double",
    "tracked",
    "ids",
    "bytes",
    "nothing",
  ]);
  assert.deepEqual(file.entry("single").shape, [3, 3]);
  assert.deepEqual(file.floats("single"), THIRDS);
  assert.deepEqual(file.floats("double"), THIRDS);
  for (const [name, digits] of [["half", 11], ["bfloat", 8]] as const) {
    file.floats(name).forEach((value, index) => {
      const exact = THIRDS[index] as number;
      assert.ok(Math.abs(value - exact) <= Math.abs(exact) * 2 ** -digits, `${name}[${index}]`);
    });
  }
  assert.deepEqual(file.floats("nothing"), new Float32Array());
  assert.deepEqual(file.integers("ids"), new Uint32Array([7, 0xffffffff]));
  assert.throws(() => file.floats("tracked"), /Cannot read "tracked" as floats: it holds I64/);
  assert.throws(() => file.integers("single"), /Cannot read "single" as U32: it holds F32/);
  assert.throws(() => file.floats("absent"), RangeError);
});

Deno.test("half floats cover infinities, NaN, zeros and subnormals", () => {
  const bits = new Uint16Array([
    0x7c00,
    0xfc00,
    0x7e00,
    0x8000,
    0x0001,
    0x03ff,
    0x3c00,
    0xc000,
    0x7bff,
  ]);
  const header = `{"x":${array("F16", "[9]", "[0,18]")}}`;
  const values = new Safetensors(fileOf(header, new Uint8Array(bits.buffer))).floats("x");
  const expected = [Infinity, -Infinity, NaN, -0, 2 ** -24, 1023 * 2 ** -24, 1, -2, 65504];
  assert.deepEqual(values, new Float32Array(expected));
});

Deno.test("what is written is read back bit for bit", () => {
  const floats = new Float32Array([0, -0, 1e-45, Infinity, NaN, 3.5]);
  const bytes = writeSafetensors(
    new Map<string, { shape: number[]; data: Float32Array | Uint32Array }>([
      ["layer1.0.conv1.weight", { shape: [2, 3], data: floats }],
      ['a "quoted" n\u00e4me', { shape: [], data: new Uint32Array([4294967295]) }],
      ["empty", { shape: [0], data: new Float32Array() }],
    ]),
    { note: "three\nlines\u0000" },
  );
  const file = new Safetensors(bytes);
  assert.deepEqual([...file.metadata], [["format", "pt"], ["note", "three\nlines\u0000"]]);
  assert.deepEqual(file.floats("layer1.0.conv1.weight"), floats);
  assert.deepEqual(file.integers('a "quoted" n\u00e4me'), new Uint32Array([4294967295]));
  assert.deepEqual(file.entry("empty").shape, [0]);
  assert.equal(file.entry("layer1.0.conv1.weight").offset % 8, 0, "the data is aligned");
});

Deno.test("reused memory holds the array until the next read", () => {
  const file = new Safetensors(fixture());
  const first = file.floats("single", { reuse: true });
  assert.deepEqual(first, THIRDS);
  assert.equal(file.floats("single", { reuse: true }).buffer, first.buffer);
  assert.notEqual(file.floats("single").buffer, first.buffer);
});

Deno.test("a file is read through a callback, and only where it is asked for", () => {
  const bytes = fixture();
  const reads: [number, number][] = [];
  const source: ByteSource = {
    size: bytes.length,
    read(offset, into) {
      reads.push([offset, into.length]);
      into.set(bytes.subarray(offset, offset + into.length));
    },
  };
  const file = new Safetensors(source);
  const headerBytes = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  assert.deepEqual(reads, [[0, 8], [8, headerBytes]]);
  assert.deepEqual(file.floats("half").length, 9);
  assert.deepEqual(reads[2], [8 + headerBytes + 36, 18]);
});

Deno.test("a header length beyond the file is refused before anything is allocated", () => {
  for (const claimed of [1000n, 2n ** 40n, 2n ** 64n - 1n]) {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setBigUint64(0, claimed, true);
    assert.throws(() => new Safetensors(bytes), /header claims \d+ bytes and the file has 16/);
  }
  assert.throws(() => new Safetensors(new Uint8Array(5)), /it has 5 bytes/);
  // Even a source that pretends to be huge gets no huge buffer.
  const source = { size: 2 ** 50, read: (_: number, into: Uint8Array) => into.fill(0x7f) };
  assert.throws(() => new Safetensors(source), /header claims/);
});

const DATA = new Uint8Array(8);
const GOOD = array("F32", "[2]", "[0,8]");
const BROKEN: readonly [why: string, header: string, error: RegExp][] = [
  ["it is not JSON", `{"x"`, /":" was expected at character 4/],
  ["it does not begin with a brace", ` {"x":${GOOD}}`, /an object was expected at character 0/],
  ["something follows it", `{"x":${GOOD}}{}`, /its end was expected/],
  ["an array comes twice", `{"x":${GOOD},"x":${GOOD}}`, /the key "x" once was expected/],
  ["an array comes twice, once escaped", `{"x":${GOOD},"\\u0078":${GOOD}}`, /the key "x" once/],
  ["a field comes twice", `{"x":{"dtype":"F32","dtype":"F32"}}`, /the key "dtype" once/],
  ["a field is unknown", `{"x":{"dtype":"F32","strides":[1]}}`, /only "dtype", "shape"/],
  ["a field is missing", `{"x":{"dtype":"F32","shape":[2]}}`, /rising "data_offsets"/],
  ["a type is unknown", `{"x":${array("C64", "[1]", "[0,8]")}}`, /a known dtype/],
  ["a type is inherited", `{"x":${array("toString", "[1]", "[0,8]")}}`, /a known dtype/],
  ["a length is negative", `{"x":${array("F32", "[-2]", "[0,8]")}}`, /a non-negative integer/],
  ["a length is a fraction", `{"x":${array("F32", "[2.0]", "[0,8]")}}`, /a non-negative integer/],
  ["a length has leading zeros", `{"x":${array("F32", "[02]", "[0,8]")}}`, /was expected/],
  ["a length exceeds 2^53", `{"x":${array("F32", "[9007199254740993]", "[0,8]")}}`, /below 2\^53/],
  [
    "a shape overflows",
    `{"x":${array("F32", "[9007199254740991,4294967296]", "[0,8]")}}`,
    /bytes, and has 8/,
  ],
  [
    "a shape has too many axes",
    `{"x":${array("F32", `[${"1,".repeat(16)}2]`, "[0,8]")}}`,
    /at most 16 numbers/,
  ],
  [
    "a shape does not match its range",
    `{"x":${array("F32", "[3]", "[0,8]")}}`,
    /12 bytes, and has 8/,
  ],
  [
    "a type does not match its range",
    `{"x":${array("F64", "[2]", "[0,8]")}}`,
    /16 bytes, and has 8/,
  ],
  ["a range falls", `{"x":${array("F32", "[2]", "[8,0]")}}`, /rising "data_offsets"/],
  ["a range has three ends", `{"x":${array("F32", "[2]", "[0,8,8]")}}`, /at most 2 numbers/],
  ["a range leaves the file", `{"x":${array("F32", "[4]", "[0,16]")}}`, /arrays end at byte/],
  [
    "two arrays overlap",
    `{"x":${GOOD},"y":${array("F32", "[1]", "[4,8]")}}`,
    /overlap or leave a gap/,
  ],
  ["two arrays share a range", `{"x":${GOOD},"y":${GOOD}}`, /overlap or leave a gap/],
  ["there is a gap", `{"x":${array("F32", "[1]", "[4,8]")}}`, /"x" starts at byte 4/],
  ["bytes are left over", `{"x":${array("F32", "[1]", "[0,4]")}}`, /arrays end at byte/],
  ["metadata is no text", `{"__metadata__":{"a":1},"x":${GOOD}}`, /a string was expected/],
  [
    "a string has a raw line break",
    `{"__metadata__":{"a":"\n"},"x":${GOOD}}`,
    /a string was expected/,
  ],
  ["a comma hangs", `{"x":${GOOD},}`, /a string was expected/],
];

for (const [why, header, error] of BROKEN) {
  Deno.test(`a header is refused where ${why}`, () => {
    assert.throws(() => new Safetensors(fileOf(header, DATA)), (thrown: unknown) => {
      assert.ok(thrown instanceof WeightsFileError);
      assert.match(thrown.message, /^Cannot read the safetensors (file|header) as /);
      assert.match(thrown.message, error);
      return true;
    });
  });
}

Deno.test("a header that is not UTF-8 is refused", () => {
  const bytes = fileOf(`{"x":${GOOD}}`, DATA);
  bytes[10] = 0xff;
  assert.throws(() => new Safetensors(bytes), /not UTF-8/);
});

Deno.test("spaces between tokens and after the header are allowed", () => {
  const header = ` { "x" :\t{ "shape" : [ 2 ] ,\n"data_offsets": [ 0 , 8 ], "dtype": "F32" } }  `;
  const file = new Safetensors(fileOf(header.trimStart(), DATA));
  assert.deepEqual(file.floats("x"), new Float32Array(2));
});

Deno.test("every truncation and every changed length of a real file is refused", () => {
  const bytes = fixture();
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(
      () => new Safetensors(bytes.subarray(0, length)),
      WeightsFileError,
      `${length} bytes`,
    );
  }
  const longer = new Uint8Array(bytes.length + 1);
  longer.set(bytes);
  assert.throws(() => new Safetensors(longer), WeightsFileError);
});

Deno.test("names that cannot be written are refused", () => {
  const data = new Float32Array(2);
  assert.throws(
    () => writeSafetensors(new Map([["__metadata__", { shape: [2], data }]])),
    TypeError,
  );
  assert.throws(() => writeSafetensors(new Map([["x", { shape: [3], data }]])), {
    message: 'Cannot write 2 numbers as "x" of shape [3]',
  });
});
