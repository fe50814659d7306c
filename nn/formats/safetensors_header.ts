// The JSON header of a safetensors file. JSON.parse would keep the last of two equal keys and round
// integers above 2⁵³, both of which let a crafted file say two things at once; hence a reader of
// the small part of JSON that the format uses.

import { quoted, WeightsFileError } from "./weights_error.ts";

/** Element types of the format, with their size in bytes. */
export const SAFETENSORS_TYPES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
} as const;

/** Name of an element type of the format. */
export type SafetensorsType = keyof typeof SAFETENSORS_TYPES;

/** One array of a file. */
export interface SafetensorsEntry {
  /** Element type. */
  readonly dtype: SafetensorsType;
  /** Length of each axis. */
  readonly shape: readonly number[];
  /** First byte in the file. */
  readonly offset: number;
  /** Length in bytes. */
  readonly byteLength: number;
}

/** Names of arrays are paths of modules, and short. */
export const MAX_NAME_LENGTH = 1024;
/** Arrays that a file may have, and texts of a header. */
export const MAX_ENTRIES = 200_000;
/** Axes that an array may have. */
const MAX_AXES = 16;

const INTEGER = /(0|[1-9][0-9]*)(?![0-9.eE])/y;
const SPACE = /[ \t\n\r]*/y;

/** What a header says; offsets are relative to the first byte after it. */
export interface SafetensorsHeader {
  /** Free text by key. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Arrays by name. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
}

/**
 * Parses a header.
 *
 * @throws {WeightsFileError} If it is not a JSON object of the format's form, says a key twice, or
 * has a number that is not an exact, non-negative integer.
 */
export function parseHeader(bytes: Uint8Array): SafetensorsHeader {
  return new HeaderReader(decode(bytes)).header();
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw broken("it is not UTF-8");
  }
}

class HeaderReader {
  readonly #text: string;
  #position = 0;

  constructor(text: string) {
    this.#text = text;
  }

  header(): SafetensorsHeader {
    if (!this.#text.startsWith("{")) this.#fail("an object");
    let metadata = new Map<string, string>();
    const entries = new Map<string, SafetensorsEntry>();
    this.#object((name) => {
      if (name === "__metadata__") metadata = this.#strings();
      else if (name.length <= MAX_NAME_LENGTH) entries.set(name, this.#entry());
      else this.#fail(`a name of at most ${MAX_NAME_LENGTH} characters`);
    });
    this.#match(SPACE);
    if (this.#position !== this.#text.length) this.#fail("its end");
    return { metadata, entries };
  }

  #strings(): Map<string, string> {
    const strings = new Map<string, string>();
    this.#object((key) => strings.set(key, this.#string()));
    return strings;
  }

  #entry(): SafetensorsEntry {
    let dtype: SafetensorsType | undefined;
    let shape: number[] | undefined;
    let range: number[] | undefined;
    this.#object((key) => {
      if (key === "dtype") dtype = this.#type();
      else if (key === "shape") shape = this.#integers(MAX_AXES);
      else if (key === "data_offsets") range = this.#integers(2);
      else this.#fail('only "dtype", "shape" and "data_offsets"');
    });
    const [begin, end] = range ?? [];
    if (!dtype || !shape || begin === undefined || end === undefined || end < begin) {
      return this.#fail('an array with "dtype", "shape" and rising "data_offsets"');
    }
    return { dtype, shape, offset: begin, byteLength: end - begin };
  }

  #type(): SafetensorsType {
    const name = this.#string();
    if (!Object.hasOwn(SAFETENSORS_TYPES, name)) this.#fail("a known dtype");
    return name as SafetensorsType;
  }

  #object(value: (key: string) => void): void {
    const keys = new Set<string>();
    this.#expect("{");
    if (this.#accept("}")) return;
    do {
      const key = this.#string();
      if (keys.has(key)) this.#fail(`the key ${quoted(key)} once`);
      if (keys.size === MAX_ENTRIES) this.#fail(`at most ${MAX_ENTRIES} keys`);
      keys.add(key);
      this.#expect(":");
      value(key);
    } while (this.#accept(","));
    this.#expect("}");
  }

  #integers(most: number): number[] {
    const values: number[] = [];
    this.#expect("[");
    if (this.#accept("]")) return values;
    do {
      const value = Number(this.#match(INTEGER) ?? this.#fail("a non-negative integer"));
      if (!Number.isSafeInteger(value)) this.#fail("an integer below 2^53");
      if (values.push(value) > most) this.#fail(`at most ${most} numbers`);
    } while (this.#accept(","));
    this.#expect("]");
    return values;
  }

  #string(): string {
    this.#match(SPACE);
    const start = this.#position;
    let end = this.#text[start] === '"' ? start : -1;
    // To the quotation mark that ends it; a pattern would use up its stack where a string is long.
    do end = end < 0 ? -1 : this.#text.indexOf('"', end + 1); while (this.#isEscaped(end));
    try {
      const text = JSON.parse(this.#text.slice(start, end + 1));
      this.#position = end + 1;
      return text;
    } catch {
      return this.#fail("a string");
    }
  }

  #isEscaped(at: number): boolean {
    let start = at;
    while (this.#text[start - 1] === "\\") start--;
    return (at - start) % 2 === 1;
  }

  #expect(character: string): void {
    if (!this.#accept(character)) this.#fail(`"${character}"`);
  }

  #accept(character: string): boolean {
    this.#match(SPACE);
    if (this.#text[this.#position] !== character) return false;
    this.#position++;
    this.#match(SPACE);
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#position;
    const found = pattern.exec(this.#text)?.[0];
    this.#position += found?.length ?? 0;
    return found;
  }

  #fail(expected: string): never {
    throw broken(`${expected} was expected at character ${this.#position}`);
  }
}

function broken(reason: string): WeightsFileError {
  return new WeightsFileError("the safetensors header", reason);
}
