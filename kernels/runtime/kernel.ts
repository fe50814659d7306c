// Kernel definitions: which WGSL entry reads and writes what, checked against the WGSL itself.

import type { DType } from "./shape.ts";

/** Scalar types of kernel parameters. */
export type ScalarType = "u32" | "i32" | "f32";

/** The value of one parameter. */
export type ParamValue = { readonly type: ScalarType; readonly value: number };

/** What a launcher states about one WGSL entry point. */
export interface KernelDefinition<R extends string, W extends string, P extends string> {
  /** Name in profiles and errors, `group_norm.forward`. */
  readonly name: string;
  /** Path of the WGSL file, for errors. */
  readonly file: string;
  /** Text of the WGSL file. */
  readonly source: string;
  /** The entry point. */
  readonly entry: string;
  /** Arrays that the entry only reads, in camelCase of their WGSL names. */
  readonly reads: readonly R[];
  /** Arrays that the entry writes, in place or afresh. */
  readonly writes: readonly W[];
  /** Fields of the parameter struct, in its order, in camelCase. */
  readonly params?: Readonly<Record<P, ScalarType>>;
  /** The WGSL uniform variable that holds the parameters; `params` unless said. */
  readonly paramsVariable?: string;
  /** Values of `override` constants. */
  readonly constants?: Readonly<Record<string, number>>;
}

/** One array binding, as the WGSL declares it. */
export interface ArrayBinding {
  /** Name that launchers use, in camelCase. */
  readonly name: string;
  /** Binding number in group 0. */
  readonly binding: number;
  /** Whether the WGSL declares it `read_write`. */
  readonly writable: boolean;
  /** Whether this entry writes it; one that another entry writes is only `writable`. */
  readonly written: boolean;
  /** Element type, where the WGSL names a plain one. */
  readonly dtype: DType | undefined;
}

/** A checked kernel; `dispatch` runs it. */
export interface Kernel<A extends string = string, P extends string = string> {
  /** Name in profiles and errors. */
  readonly name: string;
  /** Path of the WGSL file, for errors. */
  readonly file: string;
  /** Text of the WGSL file. */
  readonly source: string;
  /** The entry point. */
  readonly entry: string;
  /** Values of `override` constants. */
  readonly constants: Readonly<Record<string, number>>;
  /** Arrays that are read, then those that are written. */
  readonly arrays: readonly ArrayBinding[];
  /** Names and types of the parameters, in the order of the WGSL struct. */
  readonly params: readonly (readonly [name: string, type: ScalarType])[];
  /** Carries the names to the types of `dispatch`; never set. */
  readonly names?: readonly [A, P];
}

/**
 * Declares a kernel and checks the declaration against its WGSL: every array must be bound under the
 * snake_case of its name, what is written must be `read_write`, and the parameters must be the fields
 * of the struct in the same order.
 *
 * @throws {TypeError} Where the two disagree.
 */
export function defineKernel<
  const R extends string,
  const W extends string = never,
  const P extends string = never,
>(definition: KernelDefinition<R, W, P>): Kernel<R | W, P> {
  const { name, file, source, entry, reads, writes, constants = {} } = definition;
  const bindings = arrayBindings(source);
  const arrays = [...reads, ...writes].map((array, index) => {
    const found = bindings.get(snakeCase(array));
    if (!found) {
      throw new TypeError(
        `Cannot define ${name} as ${file} binds no array "${snakeCase(array)}": it binds ${
          [...bindings.keys()].join(", ")
        }`,
      );
    }
    const written = index >= reads.length;
    if (written && !found.writable) {
      throw new TypeError(`Cannot define ${name} as "${array}" is read-only in ${file}`);
    }
    return { name: array, written, ...found };
  });
  const params = Object.entries(definition.params ?? {}) as [P, ScalarType][];
  if (params.length > 0) {
    const expected = structFields(source, definition.paramsVariable ?? "params");
    const stated = params.map(([field, type]) => `${snakeCase(field)}: ${type}`);
    if (expected.join(", ") !== stated.join(", ")) {
      throw new TypeError(
        `Cannot define ${name} as its parameters differ from ${file}: stated "${
          stated.join(", ")
        }", found "${expected.join(", ")}"`,
      );
    }
  }
  return { name, file, source, entry, constants, arrays, params };
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function arrayBindings(source: string): Map<string, Omit<ArrayBinding, "name" | "written">> {
  const pattern =
    /@group\(0\)\s*@binding\((\d+)\)\s*var<storage,\s*(read|read_write)>\s*(\w+)\s*:\s*array<([^;]+)>\s*;/g;
  const bindings = new Map<string, Omit<ArrayBinding, "name" | "written">>();
  for (const [, binding, access, name, element] of withoutComments(source).matchAll(pattern)) {
    bindings.set(name as string, {
      binding: Number(binding),
      writable: access === "read_write",
      dtype: elementType(element as string),
    });
  }
  return bindings;
}

function elementType(element: string): DType | undefined {
  if (/^(f32|vec[234]f|vec[234]<f32>|mat\dx\df)$/.test(element)) return "f32";
  if (/^(u32|vec[234]u|vec[234]<u32>|atomic<u32>)$/.test(element)) return "u32";
  return undefined;
}

function structFields(source: string, variable: string): string[] {
  const text = withoutComments(source);
  const declared = new RegExp(
    `@group\\(1\\)\\s*@binding\\(0\\)\\s*var<uniform>\\s*${variable}\\s*:\\s*(\\w+)`,
  ).exec(text);
  const body = new RegExp(`struct\\s+${declared?.[1]}\\s*\\{([^}]*)\\}`).exec(text)?.[1] ?? "";
  return body.split(",").map((field) => field.trim().replace(/\s*:\s*/, ": ")).filter(Boolean);
}

function withoutComments(source: string): string {
  return source.replace(/\/\/.*$/gm, "");
}
