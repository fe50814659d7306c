// ONNX files: a graph of operations with their weights, as protocol buffers. Only the few messages
// that a network for inference needs; https://onnx.ai/onnx/repo-docs/IR.html and onnx.proto define
// them.

import type { Shape } from "../../kernels/runtime/mod.ts";
import { bytesField, floatField, integerField, lengthField, message, utf8 } from "./protobuf.ts";

/** Values of a node's attribute: an integer, integers, a text, or a {@link Float}. */
export type Attribute = number | readonly number[] | string | Float;

/** An attribute that is a float, which a number alone does not tell. */
export class Float {
  /** Wraps a number. */
  constructor(
    /** The number, rounded to 32 bits in the file. */
    readonly value: number,
  ) {}
}

/** Weights of a graph, read when they are written. */
export interface Initializer {
  /** Length of each axis. */
  readonly shape: Shape;
  /** Little-endian bytes; may be overwritten by the next call. */
  readonly bytes: () => Uint8Array;
  /** Element type: 32-bit floats, or 64-bit integers as shapes are given. */
  readonly type: "float" | "int64";
}

/** Lengths of an input's or output's axes; names stand for lengths that each run decides. */
export type SymbolicShape = readonly (number | string)[];

const FLOAT = 1;
const INT64 = 7;
const ATTRIBUTE = { float: 1, int: 2, string: 3, ints: 7 } as const;
/** The version of the file format that opset 13 came with. */
const IR_VERSION = 7;
/** The oldest set of operations that has all of them in the form used here. */
const OPSET = 13;
/** A protocol buffer is shorter than this. */
const MAX_BYTES = 2 ** 31;

/** A network is too large for the format. */
export class OnnxSizeError extends RangeError {}

/** A graph in the making: nodes in the order in which they run. */
export class OnnxGraph {
  readonly #nodes: Uint8Array[] = [];
  readonly #initializers = new Map<string, Initializer>();
  readonly #inputs: Uint8Array[] = [];
  readonly #outputs: Uint8Array[] = [];
  #count = 0;

  /** Adds weights under a name; the same name twice is the same weights. */
  initializer(name: string, initializer: Initializer): string {
    this.#initializers.set(name, initializer);
    return name;
  }

  /** Adds a constant of integers, such as a shape. */
  integers(name: string, values: readonly number[]): string {
    const bytes = new Uint8Array(8 * values.length);
    const view = new DataView(bytes.buffer);
    values.forEach((value, index) => view.setBigInt64(8 * index, BigInt(value), true));
    return this.initializer(name, { shape: [values.length], bytes: () => bytes, type: "int64" });
  }

  /**
   * Adds an operation.
   *
   * @param operation Its name in ONNX.
   * @param inputs What it reads; an empty name leaves an input out.
   * @returns The name of its output.
   */
  node(
    operation: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    output: string = `${operation.toLowerCase()}_${this.#count++}`,
  ): string {
    this.#nodes.push(message(
      ...inputs.map((name) => bytesField(1, utf8(name))),
      bytesField(2, utf8(output)),
      bytesField(3, utf8(output)),
      bytesField(4, utf8(operation)),
      ...Object.entries(attributes).map(([name, value]) => bytesField(5, attribute(name, value))),
    ));
    return output;
  }

  /** Declares an input of floats. */
  input(name: string, shape: SymbolicShape): string {
    this.#inputs.push(valueInfo(name, shape));
    return name;
  }

  /** Declares a node's output as one of the graph. */
  output(name: string, shape: SymbolicShape): void {
    this.#outputs.push(valueInfo(name, shape));
  }

  /**
   * The file, in parts; each must be used before the next is taken.
   *
   * @param metadata Free text by key.
   * @throws {OnnxSizeError} If the file would be longer than the format allows, before any part.
   */
  *parts(metadata: Readonly<Record<string, string>> = {}): Generator<Uint8Array> {
    const before = message(
      ...this.#nodes.map((node) => bytesField(1, node)),
      bytesField(2, utf8("network")),
      ...this.#inputs.map((input) => bytesField(11, input)),
      ...this.#outputs.map((output) => bytesField(12, output)),
    );
    const initializers = [...this.#initializers].map(([name, { shape, bytes, type }]) => {
      const size = shape.reduce((size, length) => size * length, type === "float" ? 4 : 8);
      const head = message(
        ...shape.map((length) => integerField(1, length)),
        integerField(2, type === "float" ? FLOAT : INT64),
        bytesField(8, utf8(name)),
        lengthField(9, size),
      );
      return { head: message(lengthField(5, head.length + size), head), size, bytes };
    });
    const graphBytes = initializers.reduce(
      (sum, { head, size }) => sum + head.length + size,
      before.length,
    );
    if (graphBytes >= MAX_BYTES) {
      throw new OnnxSizeError(
        `Cannot write ${graphBytes} bytes of network as ONNX: it ends at 2 GiB`,
      );
    }
    yield message(
      integerField(1, IR_VERSION),
      bytesField(2, utf8("proda-webgpu")),
      bytesField(8, integerField(2, OPSET)),
      ...Object.entries(metadata).map(([key, value]) =>
        bytesField(14, message(bytesField(1, utf8(key)), bytesField(2, utf8(value))))
      ),
      lengthField(7, graphBytes),
      before,
    );
    for (const { head, size, bytes } of initializers) {
      yield head;
      const data = bytes();
      if (data.length !== size) {
        throw new RangeError(`Cannot write ${data.length} bytes as ${size}`);
      }
      yield data;
    }
  }
}

function attribute(name: string, value: Attribute): Uint8Array {
  const [type, ...fields] = typeof value === "string"
    ? [ATTRIBUTE.string, bytesField(4, utf8(value))]
    : value instanceof Float
    ? [ATTRIBUTE.float, floatField(2, value.value)]
    : typeof value === "number"
    ? [ATTRIBUTE.int, integerField(3, value)]
    : [ATTRIBUTE.ints, ...value.map((item) => integerField(8, item))];
  return message(bytesField(1, utf8(name)), ...fields, integerField(20, type));
}

function valueInfo(name: string, shape: SymbolicShape): Uint8Array {
  const axes = shape.map((length) =>
    bytesField(
      1,
      typeof length === "number" ? integerField(1, length) : bytesField(2, utf8(length)),
    )
  );
  const tensor = message(integerField(1, FLOAT), bytesField(2, message(...axes)));
  return message(bytesField(1, utf8(name)), bytesField(2, bytesField(1, tensor)));
}
