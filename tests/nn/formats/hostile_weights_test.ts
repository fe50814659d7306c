// Files of weights that are made to take memory or time: each is refused with one short sentence.

import assert from "node:assert/strict";
import { PyTorchFile } from "../../../nn/formats/pytorch.ts";
import { Safetensors } from "../../../nn/formats/safetensors.ts";
import { WeightsFileError } from "../../../nn/formats/weights_error.ts";
import {
  deflated,
  dictionary,
  integer,
  join,
  pickleOf,
  sourceOf,
  tensor,
  testWithZlib,
  text,
  torchFile,
  zipOf,
} from "./_torch_files.ts";

/** The opcodes of a tuple that holds itself 2^40 times over: read as text, terabytes. */
const LAUGHS = pickleOf(
  text("ha"),
  ...Array.from({ length: 40 }, (_, i) => pickleOf("q", i, "h", i, 0x86)), // twice the one before
);
/** The opcodes of half a million lists, each in the next. */
const NEST = pickleOf("]".repeat(500_000), "a".repeat(499_999));
/** The opcodes of a text of eight million letters. */
const LONG = pickleOf("X", 0, 0x12, 0x7a, 0, "x".repeat(8_000_000));

/** The opcodes of a text of a thousand letters. */
const KEY = pickleOf("X", 0xe8, 0x03, 0, 0, "k".repeat(1000));

/** A file of the format before the zip files: five pickles, then the storages. */
function legacyFile(values: Uint8Array, keys: Uint8Array): Uint8Array {
  const magic = pickleOf(0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, ".");
  return join([magic, pickleOf("M", 0xe9, 0x03, "."), pickleOf("}."), values, keys]);
}

/** A safetensors file of a header alone. */
function headerFile(header: string): Uint8Array {
  const bytes = new TextEncoder().encode(header);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(bytes.length), true);
  return join([length, bytes]);
}

const of = (...opcodes: (string | number | Uint8Array)[]) => torchFile(pickleOf(...opcodes));
const storage = (key: Uint8Array) =>
  pickleOf("(", text("storage"), "ctorch\nFloatStorage\n", key, text("cpu"), integer(4), "tQ");
const tensorOf = (shape: Uint8Array) =>
  pickleOf(
    "ctorch._utils\n_rebuild_tensor_v2\n(",
    storage(text("0")),
    integer(0),
    ...[shape, "(", integer(1), "t"],
    "tR.",
  );

type Hostile = readonly [why: string, file: () => Uint8Array, error: RegExp];
const FILES: readonly Hostile[] = [
  ...([["doubles", LAUGHS], ["nests", NEST], ["is long", LONG]] as const).flatMap((
    [does, value],
  ) => ([
    [`a module's name ${does}`, () => of(value, text("x"), 0x93, "."), /names what is no name/],
    [`a name ${does}`, () => of(text("torch"), value, 0x93, "."), /names what is no name/],
    [
      `a data type's name ${does}`,
      () => of("cnumpy\ndtype\n", value, 0x85, "Rccollections\nx\n."),
      /names collections\.x/,
    ],
    [
      `the text of bytes ${does}`,
      () => of("c_codecs\nencode\n", value, 0x85, "Rccollections\nx\n."),
      /names collections\.x/,
    ],
    [`a length ${does}`, () => of(tensorOf(pickleOf(value, 0x85))), /holds (a list|an object)/],
    [`a shape ${does}`, () => of(tensorOf(value)), /axes|holds a list|is no list/],
    [`a storage's name ${does}`, () => of(storage(value), "."), /that is no storage/],
    [
      `the list of an old file's storages ${does}`,
      () => legacyFile(pickleOf("}."), pickleOf("](", value, "e.")),
      /lists a strange storage (a list|an object)/,
    ],
  ] as const)),
  [
    "a million empty dictionaries are made, and again",
    () => of("}".repeat(3_000_000), "."),
    /more than 2000000 operations/,
  ],
  [
    "a dictionary is made of one long list again and again",
    () =>
      of(
        "](",
        "N".repeat(100_000),
        "eq",
        0,
        ...Array.from(
          { length: 1000 },
          () => pickleOf("ccollections\nOrderedDict\nh", 0, 0x85, "R"),
        ),
        ".",
      ),
    /more than 2000000 operations/,
  ],
  [
    "what has no name is gone through again and again",
    () =>
      of(
        "}(",
        ...Array.from({ length: 20_000 }, () => pickleOf("C", 0, "N")),
        "uq",
        0,
        "0](",
        ...Array.from({ length: 20_000 }, () => pickleOf("h", 0)),
        "e.",
      ),
    /more than 1000000 values/,
  ],
  [
    "long keys nest",
    () => of("}", KEY, "}", KEY, tensor({}), "ss."),
    /longer names than weights: expected at most 1024 characters each/,
  ],
  [
    "a long key stands before many tensors",
    () => {
      const again = Array.from({ length: 20_000 }, () => pickleOf("h", 0));
      return of("}", KEY, "](", tensor({}), "q", 0, ...again, "es.");
    },
    /longer names than weights: expected at most 1024 characters each/,
  ],
  [
    "one tensor stands for a million",
    () => {
      const again = "h\0".repeat(300_000);
      return of("](", tensor({ shape: [0] }), "q", 0, again, "e.");
    },
    /more than 200000 tensors/,
  ],
  [
    "an entry's name is long",
    () => zipOf([{ name: "a".repeat(60_000), data: new Uint8Array(3), method: 12 }]),
    /^.{1,300}$/,
  ],
];

const DEFLATED_FILES: readonly Hostile[] = [
  [
    "a storage of a megabyte inflates to a gigabyte",
    () => {
      const data = deflated(new Uint8Array(2 ** 28)).subarray(0, 2 ** 18);
      const size = 2 ** 28;
      const pickle = dictionary({ w: tensor({ elements: size / 4, shape: [size / 4] }) });
      const lies = { method: 8, claimedBytes: size, crc: 1 };
      return torchFile(pickle, { "0": data }, lies);
    },
    /claims to inflate from \d+ to 268435456 bytes/,
  ],
  [
    "two deflated storages are inflated in turns",
    () => {
      const names = ["0", "1"];
      const tensors = Array.from({ length: 200 }, (_, i) => tensor({ key: names[i % 2] }));
      const storages = Object.fromEntries(names.map((name) => [name, new Uint8Array(16)]));
      const pickle = pickleOf("](", ...tensors, "e.");
      return torchFile(pickle, storages, { deflate: true });
    },
    /claim \d+ bytes of storages of 32/,
  ],
];

for (const [test, files] of [[Deno.test, FILES], [testWithZlib, DEFLATED_FILES]] as const) {
  for (const [why, file, error] of files) {
    test(`a PyTorch file is refused quickly where ${why}`, () => {
      const bytes = file();
      const start = performance.now();
      assert.throws(() => {
        const opened = new PyTorchFile(sourceOf(bytes));
        for (const name of opened.entries.keys()) opened.bytes(name);
      }, (thrown: unknown) => {
        assert.ok(thrown instanceof WeightsFileError, String(thrown).slice(0, 500));
        assert.match(thrown.message, error);
        assert.ok(thrown.message.length < 400, `${thrown.message.length} characters`);
        return true;
      });
      assert.ok(performance.now() - start < 2000, `${performance.now() - start} ms`);
    });
  }
}

const HEADERS: readonly (readonly [why: string, header: () => string, error: RegExp])[] = [
  ["a name is long", () => `{"${"x".repeat(2 ** 24)}":{}}`, /a name of at most 1024 characters/],
  [
    "a text never ends",
    () => `{"__metadata__":{"a":"${"x".repeat(2 ** 24)}`,
    /a string was expected/,
  ],
  ["a type is long", () => `{"a":{"dtype":"${"x".repeat(2 ** 24)}"}}`, /a known dtype/],
  ["lists nest", () => `{"a":{"shape":${"[".repeat(2 ** 20)}`, /a non-negative integer/],
  ["it is long", () => " ".repeat(2 ** 25 + 1), /its header takes 33554433 bytes, and 33554432 at/],
  [
    "there are a million texts",
    () => `{"__metadata__":{${Array.from({ length: 1e6 }, (_, i) => `"${i}":""`)}}}`,
    /at most 200000 keys/,
  ],
];

for (const [why, header, error] of HEADERS) {
  Deno.test(`a safetensors file is refused quickly where ${why}`, () => {
    const bytes = headerFile(header());
    assert.throws(() => new Safetensors(bytes), (thrown: unknown) => {
      assert.ok(thrown instanceof WeightsFileError, String(thrown).slice(0, 500));
      assert.match(thrown.message, error);
      assert.ok(thrown.message.length < 400, `${thrown.message.length} characters`);
      return true;
    });
  });
}

Deno.test("texts of a safetensors header may be long and have any escape", () => {
  const value = `\\ " \n ü \u0000 ${"x".repeat(2 ** 22)}`;
  const file = new Safetensors(headerFile(JSON.stringify({ "__metadata__": { "\\": value } })));
  assert.equal(file.metadata.get("\\"), value);
});

testWithZlib("a tensor of zeros may be deflated to a thousandth", () => {
  const elements = 2 ** 18;
  const pickle = dictionary({ w: tensor({ elements, shape: [elements] }) });
  const file = torchFile(pickle, { "0": new Uint8Array(4 * elements) }, { deflate: true });
  const floats = new PyTorchFile(sourceOf(file)).floats("w");
  assert.equal(floats.length, elements);
  assert.ok(floats.every((value) => value === 0));
});
