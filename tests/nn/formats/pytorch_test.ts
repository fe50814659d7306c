import assert from "node:assert/strict";
import { PyTorchFile } from "../../../nn/formats/pytorch.ts";
import { WeightsFileError, WeightsMismatchError } from "../../../nn/formats/weights_error.ts";
import {
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

type Expected = Record<
  string,
  { dtype: string; shape: number[]; values: (number | string | boolean)[] }
>;

const GOLDENS = new URL("../../goldens/", import.meta.url);
const golden = (name: string) => Deno.readFileSync(new URL(name, GOLDENS));
const open = (bytes: Uint8Array) => new PyTorchFile(sourceOf(bytes));
const FORMATS = ["zip", "legacy"] as const;
const DTYPES: Record<string, string> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
};

/** Numbers of a tensor of integers. */
function integersOf(file: PyTorchFile, name: string): number[] {
  const { dtype } = file.entries.get(name) ?? assert.fail(name);
  const { buffer } = file.bytes(name);
  const views: Record<string, () => ArrayLike<number | bigint>> = {
    I64: () => new BigInt64Array(buffer),
    I32: () => new Int32Array(buffer),
    I16: () => new Int16Array(buffer),
    I8: () => new Int8Array(buffer),
    U8: () => new Uint8Array(buffer),
    BOOL: () => new Uint8Array(buffer),
  };
  return Array.from(views[dtype](), Number);
}

for (const format of FORMATS) {
  Deno.test(`every tensor of a ${format} file is PyTorch's, to the bit`, () => {
    const expected: Expected = JSON.parse(new TextDecoder().decode(golden("weights.json")));
    const file = open(golden(`weights.${format}.pth`));
    assert.deepEqual([...file.entries.keys()], Object.keys(expected));
    for (const [name, { dtype, shape, values }] of Object.entries(expected)) {
      const entry = file.entries.get(name);
      assert.deepEqual(entry, { dtype: DTYPES[dtype], shape }, name);
      const numbers = values.map(Number);
      if (/float/.test(dtype)) {
        for (const reuse of [false, true]) {
          const found = file.floats(name, { reuse });
          assert.deepEqual([...found], numbers.map(Math.fround), name); // tells −0 from 0
        }
      } else {
        assert.deepEqual(integersOf(file, name), numbers, name);
        assert.throws(() => file.floats(name), WeightsMismatchError);
      }
    }
    assert.throws(() => file.floats("absent"), /holds no such tensor/);
  });

  Deno.test(`every truncation of a ${format} file is refused`, () => {
    const bytes = golden(`weights.${format}.pth`);
    for (let length = 0; length < bytes.length; length += 7) {
      assert.throws(() => open(bytes.subarray(0, length)), WeightsFileError, `${length} bytes`);
    }
  });

  Deno.test(`no changed byte of a ${format} file makes anything but numbers or a refusal`, () => {
    const bytes = golden(`weights.${format}.pth`);
    for (let at = 0; at < bytes.length; at += 3) {
      const changed = bytes.slice();
      changed[at] ^= 0xff;
      try {
        const file = open(changed);
        for (const name of file.entries.keys()) file.bytes(name, { reuse: true });
      } catch (error) {
        assert.ok(error instanceof WeightsFileError, `byte ${at}: ${error}`);
      }
    }
  });
}

Deno.test("a tensor is read where it lies, and nothing else of the file", () => {
  const bytes = torchFile(dictionary({ w: tensor({ offset: 1, shape: [2] }) }));
  const source = sourceOf(bytes);
  const reads: number[] = [];
  const file = new PyTorchFile({
    size: source.size,
    read(offset, into) {
      reads.push(into.length);
      source.read(offset, into);
    },
  });
  reads.length = 0;
  assert.deepEqual([...file.floats("w")], [2, 3]);
  assert.deepEqual(reads, [8]);
});

testWithZlib("deflated entries, ZIP64 fields and a ZIP64 end are read", () => {
  const values = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);
  const items = (options: object) => [
    {
      name: "a/data.pkl",
      data: dictionary({ w: tensor({ shape: [2, 2], strides: [1, 2] }) }),
      ...options,
    },
    { name: "a/data/0", data: values, ...options },
  ];
  for (const options of [{ deflate: true }, { zip64: true }, { deflate: true, zip64: true }]) {
    for (const zip64End of [false, true]) {
      assert.deepEqual([...open(zipOf(items(options), { zip64End })).floats("w")], [1, 3, 2, 4]);
    }
  }
});

Deno.test("a code that the file would run is named and refused", () => {
  const attacks = {
    "posix.system": "cposix\nsystem\n",
    "os.system": join([text("os"), text("system"), Uint8Array.of(0x93)]),
    "builtins.eval": "cbuiltins\neval\n",
    "torch.load": "ctorch\nload\n",
    "collections.__class__": "ccollections\n__class__\n",
    "models.ResNet": "cmodels\nResNet\n",
  };
  for (const [name, opcodes] of Object.entries(attacks)) {
    const pickle = pickleOf(0x80, 2, opcodes, "(", text("echo harm"), "tR.");
    assert.throws(() => open(torchFile(pickle)), {
      name: "RangeError",
      message:
        `Cannot read the pickle as it names ${name}, which is not among the few names that ` +
        `weights need; nothing of it was run`,
    });
  }
});

const huge = 2 ** 40;
type Lie = readonly [why: string, file: () => Uint8Array, error: RegExp];
const LIES: readonly Lie[] = [
  ["it is empty", () => new Uint8Array(), /begins like no PyTorch file/],
  [
    "it is a pickle of something else",
    () => pickleOf(0x80, 2, "}."),
    /begins like no PyTorch file/,
  ],
  ["it is text", () => pickleOf("import torch\n"), /begins like no PyTorch file/],
  [
    "the zip holds no pickle",
    () => zipOf([{ name: "a/b", data: new Uint8Array(3) }]),
    /no data\.pkl/,
  ],
  [
    "the zip holds a program",
    () =>
      zipOf([{ name: "a/data.pkl", data: pickleOf("N.") }, {
        name: "a/constants.pkl",
        data: pickleOf("N."),
      }]),
    /TorchScript/,
  ],
  [
    "its numbers are big-endian",
    () =>
      zipOf([{ name: "a/data.pkl", data: pickleOf("N.") }, {
        name: "a/byteorder",
        data: pickleOf("big"),
      }]),
    /big-endian/,
  ],
  [
    "a storage is missing",
    () => torchFile(dictionary({ w: tensor({ key: "9" }) })),
    /storage "9" is missing/,
  ],
  [
    "a storage claims too much",
    () => torchFile(dictionary({ w: tensor({ elements: huge }) })),
    /has 16 bytes and claims/,
  ],
  [
    "a storage claims too little",
    () => torchFile(dictionary({ w: tensor({ elements: 3, shape: [3] }) })),
    /has 16 bytes and claims 12/,
  ],
  [
    "a shape leaves its storage",
    () => torchFile(dictionary({ w: tensor({ shape: [5] }) })),
    /needs more than the 4 elements/,
  ],
  [
    "an offset leaves its storage",
    () => torchFile(dictionary({ w: tensor({ offset: 1 }) })),
    /needs more than the 4 elements/,
  ],
  [
    "strides leave their storage",
    () => torchFile(dictionary({ w: tensor({ shape: [2, 2], strides: [3, 1] }) })),
    /needs more than the 4/,
  ],
  [
    "a stride of 0 claims what is not there",
    () => torchFile(dictionary({ w: tensor({ shape: [huge], strides: [0] }) })),
    /needs more than the 4/,
  ],
  [
    "a shape overflows",
    () =>
      torchFile(
        dictionary({ w: tensor({ shape: [2 ** 52, 2 ** 52, 2 ** 52], strides: [0, 0, 0] }) }),
      ),
    /needs more than/,
  ],
  [
    "a length is beyond 2^53",
    () => torchFile(dictionary({ w: tensor({ shape: [2n ** 62n], strides: [0] }) })),
    /expected whole numbers from 0/,
  ],
  [
    "a length is negative",
    () => torchFile(dictionary({ w: tensor({ shape: [-4] }) })),
    /expected whole numbers from 0/,
  ],
  [
    "a stride is negative",
    () => torchFile(dictionary({ w: tensor({ offset: 3, strides: [-1] }) })),
    /expected whole numbers/,
  ],
  [
    "axes and strides differ",
    () => torchFile(dictionary({ w: tensor({ shape: [2, 2] }) })),
    /2 axes with 1 strides/,
  ],
  [
    "a type is quantised",
    () => torchFile(dictionary({ w: tensor({ type: "QInt8Storage" }) })),
    /names torch\.QInt8Storage/,
  ],
  [
    "tensors share memory thousands of times",
    () =>
      torchFile(
        dictionary(Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`w${i}`, tensor({})]))),
      ),
    /claim 640 bytes of storages of 16/,
  ],
  [
    "a stored entry lies about its size",
    () => torchFile(dictionary({ w: tensor({}) }), undefined, { claimedBytes: 64 }),
    /stored as 16 bytes and claims 64/,
  ],
  [
    "an entry is encrypted",
    () => torchFile(dictionary({ w: tensor({}) }), undefined, { flags: 1 }),
    /is encrypted/,
  ],
  [
    "an entry is compressed otherwise",
    () => torchFile(dictionary({ w: tensor({}) }), undefined, { method: 12 }),
    /compressed by method 12/,
  ],
  [
    "entries overlap",
    () =>
      zipOf([{ name: "a/data.pkl", data: pickleOf("N.") }, {
        name: "a/x",
        data: pickleOf("N."),
        sharesHeaderOf: 0,
      }]),
    /overlaps/,
  ],
  [
    "an entry comes twice",
    () =>
      zipOf([{ name: "a/data.pkl", data: pickleOf("N.") }, {
        name: "a/data.pkl",
        data: pickleOf("N."),
      }]),
    /"a\/data\.pkl" twice/,
  ],
  [
    "a pickle takes what it has not put",
    () => torchFile(pickleOf(0x80, 2, "R.")),
    /takes more than it has put/,
  ],
  [
    "a pickle calls a number",
    () => torchFile(pickleOf(0x80, 2, "K", 1, ")R.")),
    /calls what cannot be called/,
  ],
  [
    "a pickle uses an opcode of protocol 0",
    () => torchFile(pickleOf("I1\n.")),
    /the opcode 0x49 at byte 0/,
  ],
  [
    "a pickle has an endless integer",
    () => torchFile(pickleOf(0x8b, 0xff, 0xff, 0xff, 0x7f)),
    /integer of 2147483647 bytes/,
  ],
  [
    "a pickle has an endless text",
    () => torchFile(pickleOf("X", 0xff, 0xff, 0xff, 0x7f)),
    /it is truncated/,
  ],
  [
    "a pickle recalls what it has not kept",
    () => torchFile(pickleOf("h", 7, ".")),
    /recalls value 7/,
  ],
  [
    "a pickle goes to a mark that is not set",
    () => torchFile(pickleOf("t.")),
    /a mark that it has not set/,
  ],
  [
    "a pickle holds itself",
    () => torchFile(pickleOf("]q", 0, "h", 0, "a.")),
    /nest more than 64 deep/,
  ],
  [
    "lists of lists double without bound",
    () =>
      torchFile(
        pickleOf(
          "]",
          ...Array.from({ length: 40 }, (_, i) => pickleOf("q", i, "0](h", i, "h", i, "e")),
          ".",
        ),
      ),
    /more than 1000000 values/,
  ],
  [
    "two tensors have one name",
    () =>
      torchFile(dictionary({ "a.b": tensor({}), a: pickleOf("}", text("b"), tensor({}), "s") })),
    /two of its tensors are called "a\.b"/,
  ],
];

const LIES_OF_ZLIB: readonly Lie[] = [
  [
    "bytes were damaged",
    () => torchFile(dictionary({ w: tensor({}) }), undefined, { crc: 1 }),
    /does not match its checksum/,
  ],
  [
    "an entry claims to inflate without bound",
    () =>
      torchFile(dictionary({ w: tensor({ elements: huge, shape: [huge] }) }), undefined, {
        deflate: true,
        claimedBytes: 4 * huge,
        zip64: true,
      }),
    /claims to inflate/,
  ],
  [
    "an entry inflates to more than it claims",
    () =>
      torchFile(dictionary({ w: tensor({}) }), { "0": new Uint8Array(4000) }, {
        deflate: true,
        claimedBytes: 16,
      }),
    /cannot be inflated/,
  ],
  [
    "an entry inflates to less than it claims",
    () =>
      torchFile(dictionary({ w: tensor({ elements: 8, shape: [8] }) }), undefined, {
        deflate: true,
        claimedBytes: 32,
      }),
    /inflates to 16 bytes and claims 32/,
  ],
];

for (const [test, files] of [[Deno.test, LIES], [testWithZlib, LIES_OF_ZLIB]] as const) {
  for (const [why, file, error] of files) {
    test(`a PyTorch file is refused where ${why}`, () => {
      assert.throws(() => {
        const opened = open(file());
        for (const name of opened.entries.keys()) opened.bytes(name);
      }, (thrown: unknown) => {
        assert.ok(thrown instanceof WeightsFileError, String(thrown));
        assert.match(thrown.message, /^Cannot read the (PyTorch file|pickle|zip file) as /);
        assert.match(thrown.message, error);
        return true;
      });
    });
  }
}

Deno.test("a file that pretends to be huge gets no huge memory", () => {
  const bytes = torchFile(dictionary({ w: tensor({}) }));
  const source = { size: 2 ** 50, read: (_: number, into: Uint8Array) => into.fill(0x50) };
  assert.throws(() => new PyTorchFile(source), WeightsFileError);
  // A table of contents that claims more entries than the file could hold.
  const lying = bytes.slice();
  lying.set([0xfe, 0xff], lying.length - 12);
  assert.throws(() => open(lying), /table of contents claims 65534 entries/);
});

Deno.test("integers of Python of any sign and length up to 64 bytes are read", () => {
  const pickle = dictionary({ a: integer(-5), b: pickleOf(0x8a, 0), c: tensor({}) });
  assert.deepEqual([...open(torchFile(pickle)).entries.keys()], ["c"]);
});

Deno.test("an error of a file is a RangeError whose reason stands alone", () => {
  assert.throws(() => open(new Uint8Array()), (error: unknown) => {
    assert.ok(error instanceof WeightsFileError && error instanceof RangeError);
    assert.equal(error.message, `Cannot read the PyTorch file as ${error.reason}`);
    assert.equal(error.reason, "it begins like no PyTorch file");
    return true;
  });
});
