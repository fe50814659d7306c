// Python's pickle format, read and never executed. A pickle is a program for a stack machine that
// may name any function of Python and call it. This reader knows the few opcodes that build data,
// asks a table what a name stands for, and refuses every name that is not in it.

import { quoted, WeightsFileError } from "./weights_error.ts";

/** What a pickle holds: plain values, lists and tuples as arrays, dictionaries as maps. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleObject;

/** A value for a sentence. It may hold itself, or a short file say it a billion times: no contents. */
export function describeValue(value: PickleValue | undefined): string {
  if (typeof value === "string") return quoted(value);
  if (value === null || typeof value !== "object") return String(value);
  return value instanceof Map ? "a dictionary" : Array.isArray(value) ? "a list" : "an object";
}

/** A value that a {@link Globals} table made. */
export abstract class PickleObject {
  /** Takes the state that the pickle sets on the object. It is passed over unless overridden. */
  setState(_state: PickleValue): void {}
}

/** Stands for a Python function or class: what a pickle gets when it calls it. */
export class PickleCallable extends PickleObject {
  /** `module.name`. */
  readonly name: string;
  /** What a call returns. */
  readonly call: (args: readonly PickleValue[]) => PickleValue;

  /** Wraps a function of this program. */
  constructor(name: string, call: (args: readonly PickleValue[]) => PickleValue) {
    super();
    this.name = name;
    this.call = call;
  }
}

/** What a pickle may name, by `module.name`. */
export type Globals = ReadonlyMap<string, PickleValue>;

/** What decides what a pickle means. */
export interface UnpickleOptions {
  /** The names it may use. */
  readonly globals: Globals;
  /** Resolves a reference to something outside of the pickle. */
  readonly persistent: (id: PickleValue) => PickleValue;
  /** Position of the first byte (default 0). */
  readonly offset?: number;
}

/** A pickle goes on after the bytes that were given of it. */
export class TruncatedPickleError extends WeightsFileError {
  /** Says so. */
  constructor() {
    super("the pickle", "it is truncated");
  }
}

/** Long integers of Python have any length; files of weights have none above this many bytes. */
const MAX_INTEGER_BYTES = 64;
/** Names and keys are short. A longer text, such as an array's memory, is kept as its bytes. */
const MAX_TEXT_BYTES = 4096;
/**
 * Opcodes of a pickle, and values that it calls something with. A tensor takes about thirty; what a
 * pickle builds, and the time it takes, grows with nothing else.
 */
const MAX_OPERATIONS = 2_000_000;
const MARK = Symbol("mark");

/**
 * Reads one pickle of protocol 2 to 5.
 *
 * @returns The value, and the position after the pickle.
 * @throws {TruncatedPickleError} If the bytes end before the pickle does.
 * @throws {WeightsFileError} If the pickle is not sound, uses an opcode that no weights need, or
 * names something that is not in `globals`.
 */
export function unpickle(
  bytes: Uint8Array,
  options: UnpickleOptions,
): { readonly value: PickleValue; readonly end: number } {
  return new Machine(bytes, options).run();
}

class Machine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #options: UnpickleOptions;
  readonly #memo = new Map<number, PickleValue>();
  readonly #stack: (PickleValue | typeof MARK)[] = [];
  #position: number;
  #operations = 0;

  constructor(bytes: Uint8Array, options: UnpickleOptions) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#options = options;
    this.#position = options.offset ?? 0;
  }

  run(): { value: PickleValue; end: number } {
    for (;;) {
      this.#charge(1);
      const at = this.#position;
      const opcode = this.#byte();
      if (opcode === 0x2e) { // STOP
        const value = this.#pop();
        if (this.#stack.length > 0) throw this.#broken("it ends with values left over");
        return { value, end: this.#position };
      }
      const action = OPCODES[opcode];
      if (!action) {
        throw this.#broken(
          `it uses the opcode 0x${opcode.toString(16)} at byte ${at}, which no weights need`,
        );
      }
      action(this);
    }
  }

  #charge(operations: number): void {
    this.#operations += operations;
    if (this.#operations > MAX_OPERATIONS) {
      throw this.#broken(`it takes more than ${MAX_OPERATIONS} operations, which no weights need`);
    }
  }

  // What the opcodes are made of.

  take(length: number): Uint8Array {
    if (length < 0 || this.#position + length > this.#bytes.length) {
      throw new TruncatedPickleError();
    }
    this.#position += length;
    return this.#bytes.subarray(this.#position - length, this.#position);
  }

  #byte(): number {
    return this.take(1)[0] as number;
  }

  /** An unsigned little-endian integer of 1, 2, 4 or 8 bytes. */
  count(bytes: 1 | 2 | 4 | 8): number {
    const at = this.#position;
    this.take(bytes);
    if (bytes === 1) return this.#view.getUint8(at);
    if (bytes === 2) return this.#view.getUint16(at, true);
    if (bytes === 4) return this.#view.getUint32(at, true);
    return Number(this.#view.getBigUint64(at, true));
  }

  int32(): number {
    return new DataView(this.take(4).slice().buffer).getInt32(0, true);
  }

  float(): number {
    return new DataView(this.take(8).slice().buffer).getFloat64(0, false);
  }

  /** A two's complement integer of any length. */
  long(length: number): number | bigint {
    if (length > MAX_INTEGER_BYTES) throw this.#broken(`it has an integer of ${length} bytes`);
    let value = 0n;
    const bytes = this.take(length);
    for (let i = length - 1; i >= 0; i--) value = value << 8n | BigInt(bytes[i] as number);
    if (length > 0 && (bytes[length - 1] as number) & 0x80) value -= 1n << BigInt(8 * length);
    const small = Number(value);
    return Number.isSafeInteger(small) ? small : value;
  }

  text(length: number): string | Uint8Array {
    const bytes = this.take(length);
    if (length > MAX_TEXT_BYTES) return bytes;
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.#broken("it has a string that is not UTF-8");
    }
  }

  line(): string | Uint8Array {
    const end = this.#bytes.indexOf(0x0a, this.#position);
    if (end < 0) throw new TruncatedPickleError();
    const text = this.text(end - this.#position);
    this.#position++;
    return text;
  }

  push(value: PickleValue | typeof MARK): void {
    this.#stack.push(value);
  }

  #pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) throw this.#broken("it takes more than it has put");
    return value;
  }

  /** The values above the last mark. */
  marked(): PickleValue[] {
    const at = this.#stack.lastIndexOf(MARK);
    if (at < 0) throw this.#broken("it goes back to a mark that it has not set");
    return this.#stack.splice(at).slice(1) as PickleValue[];
  }

  values(count: number): PickleValue[] {
    return Array.from({ length: count }, () => this.#pop()).reverse();
  }

  drop(): void {
    if (this.#stack.pop() === undefined) throw this.#broken("it takes more than it has put");
  }

  top(): PickleValue {
    const value = this.#pop();
    this.#stack.push(value);
    return value;
  }

  append(items: PickleValue[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw this.#broken("it appends to what is no list");
    for (const item of items) list.push(item);
  }

  setItems(items: PickleValue[]): void {
    const map = this.top();
    if (!(map instanceof Map) || items.length % 2 !== 0) {
      throw this.#broken("it sets items of what is no dictionary");
    }
    for (let i = 0; i < items.length; i += 2) {
      map.set(items[i] as PickleValue, items[i + 1] as PickleValue);
    }
  }

  remember(index: number): void {
    this.#memo.set(index, this.top());
  }

  memoize(): void {
    this.remember(this.#memo.size);
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.#broken(`it recalls value ${index}, which it has not kept`);
    this.push(value);
  }

  global(module: PickleValue, name: PickleValue): void {
    const full = typeof module === "string" && typeof name === "string"
      ? `${module}.${name}`
      : null;
    const value = full === null ? undefined : this.#options.globals.get(full);
    if (value === undefined) {
      throw this.#broken(
        `it names ${
          full?.slice(0, 100) ?? "what is no name"
        }, which is not among the few names that weights need; nothing of it was run`,
      );
    }
    this.push(value);
  }

  call(): void {
    const [callable, args] = this.values(2);
    if (!(callable instanceof PickleCallable) || !Array.isArray(args)) {
      throw this.#broken("it calls what cannot be called");
    }
    for (const argument of args) if (Array.isArray(argument)) this.#charge(argument.length);
    this.push(callable.call(args));
  }

  build(): void {
    const [target, state] = this.values(2);
    // The state of an ordered dictionary is PyTorch's metadata; that of a namespace, its fields.
    if (target instanceof PickleObject) target.setState(state as PickleValue);
    else if (!(target instanceof Map)) throw this.#broken("it sets the state of what has none");
    this.push(target as PickleValue);
  }

  persistent(): void {
    this.push(this.#options.persistent(this.#pop()));
  }

  #broken(reason: string): WeightsFileError {
    return new WeightsFileError("the pickle", reason);
  }
}

/**
 * The opcodes that build data, by number. Those of protocol 0, extensions and buffers are left out.
 */
const OPCODES: Readonly<Record<number, (machine: Machine) => void>> = {
  0x80: (m) => void m.take(1), // PROTO
  0x95: (m) => void m.take(8), // FRAME: its content follows as it is
  0x28: (m) => m.push(MARK),
  0x30: (m) => m.drop(), // POP
  0x31: (m) => void m.marked(), // POP_MARK
  0x32: (m) => m.push(m.top()), // DUP
  0x4e: (m) => m.push(null), // NONE
  0x88: (m) => m.push(true), // NEWTRUE
  0x89: (m) => m.push(false), // NEWFALSE
  0x4a: (m) => m.push(m.int32()), // BININT
  0x4b: (m) => m.push(m.count(1)), // BININT1
  0x4d: (m) => m.push(m.count(2)), // BININT2
  0x8a: (m) => m.push(m.long(m.count(1))), // LONG1
  0x8b: (m) => m.push(m.long(m.count(4))), // LONG4
  0x47: (m) => m.push(m.float()), // BINFLOAT
  0x54: (m) => m.push(m.text(m.count(4))), // BINSTRING
  0x55: (m) => m.push(m.text(m.count(1))), // SHORT_BINSTRING
  0x58: (m) => m.push(m.text(m.count(4))), // BINUNICODE
  0x8c: (m) => m.push(m.text(m.count(1))), // SHORT_BINUNICODE
  0x8d: (m) => m.push(m.text(m.count(8))), // BINUNICODE8
  0x42: (m) => m.push(m.take(m.count(4))), // BINBYTES
  0x43: (m) => m.push(m.take(m.count(1))), // SHORT_BINBYTES
  0x8e: (m) => m.push(m.take(m.count(8))), // BINBYTES8
  0x5d: (m) => m.push([]), // EMPTY_LIST
  0x61: (m) => m.append(m.values(1)), // APPEND
  0x65: (m) => m.append(m.marked()), // APPENDS
  0x8f: (m) => m.push([]), // EMPTY_SET
  0x90: (m) => m.append(m.marked()), // ADDITEMS
  0x91: (m) => m.push(m.marked()), // FROZENSET
  0x29: (m) => m.push([]), // EMPTY_TUPLE
  0x85: (m) => m.push(m.values(1)), // TUPLE1
  0x86: (m) => m.push(m.values(2)), // TUPLE2
  0x87: (m) => m.push(m.values(3)), // TUPLE3
  0x74: (m) => m.push(m.marked()), // TUPLE
  0x7d: (m) => m.push(new Map()), // EMPTY_DICT
  0x73: (m) => m.setItems(m.values(2)), // SETITEM
  0x75: (m) => m.setItems(m.marked()), // SETITEMS
  0x71: (m) => m.remember(m.count(1)), // BINPUT
  0x72: (m) => m.remember(m.count(4)), // LONG_BINPUT
  0x94: (m) => m.memoize(), // MEMOIZE
  0x68: (m) => m.recall(m.count(1)), // BINGET
  0x6a: (m) => m.recall(m.count(4)), // LONG_BINGET
  0x63: (m) => m.global(m.line(), m.line()), // GLOBAL
  0x93: (m) => { // STACK_GLOBAL
    const [module, name] = m.values(2);
    m.global(module as PickleValue, name as PickleValue);
  },
  0x51: (m) => m.persistent(), // BINPERSID
  0x52: (m) => m.call(), // REDUCE
  0x81: (m) => m.call(), // NEWOBJ: the table decides what making one means
  0x62: (m) => m.build(), // BUILD
};
