// Kernel definitions: which WGSL entry reads and writes what, checked against the WGSL itself.

import {
  arrayBindings,
  checkOverrides,
  uniformFields,
  type WgslBinding,
  type WgslFile,
  withHalves,
  workgroupSize,
} from "./wgsl.ts";

import type { Precision } from "./options.ts";

/** Scalar types of kernel parameters. */
export type ScalarType = "u32" | "i32" | "f32";

/** What a launcher states about one WGSL entry point. */
export interface KernelDefinition<R extends string, W extends string, P extends string>
  extends WgslFile {
  /** Name in profiles and errors, `group_norm.forward`. */
  readonly name: string;
  /** The entry point. */
  readonly entry: string;
  /** Arrays that the entry only reads, in camelCase of their WGSL names. */
  readonly reads: readonly R[];
  /** Arrays that the entry writes, in place or afresh. */
  readonly writes: readonly W[];
  /** Fields of the parameter struct, in its order, in camelCase. */
  readonly params?: Readonly<Record<P, ScalarType>>;
  /** What the WGSL's `alias Element` stands for; f32, as the text says, unless given. */
  readonly element?: Precision | undefined;
  /** The WGSL uniform variable that holds the parameters; `params` unless said. */
  readonly paramsVariable?: string;
}

/** One array binding of a kernel. */
export interface ArrayBinding extends WgslBinding {
  /** Name that launchers use, in camelCase. */
  readonly name: string;
  /** Whether this entry writes it; one that another entry writes is only `writable`. */
  readonly written: boolean;
}

/** A checked kernel; `dispatch` runs it. */
export interface Kernel<A extends string = string, P extends string = string> extends WgslFile {
  /** Name in profiles and errors. */
  readonly name: string;
  /** The entry point. */
  readonly entry: string;
  /** Values of `override` constants. */
  readonly constants: Readonly<Record<string, number>>;
  /** Invocations of a workgroup, as the WGSL says. */
  readonly workgroupSize: number;
  /** Arrays that are read, then those that are written. */
  readonly arrays: readonly ArrayBinding[];
  /** Names and types of the parameters, in the order of the WGSL struct. */
  readonly params: readonly (readonly [name: string, type: ScalarType])[];
  /** Carries the names to the types of `dispatch`; never set. */
  readonly names?: readonly [A, P];
}

const defined: Kernel[] = [];

/** Every kernel that has been defined, in the order of the modules: for whoever measures them all. */
export function definedKernels(): readonly Kernel[] {
  return defined;
}

/**
 * Declares a kernel and checks the declaration against its WGSL: every array must be bound under
 * the snake_case of its name, what is written must be `read_write`, the parameters must be the
 * fields of the struct in the same order, and what gets a value must be an `override`.
 *
 * @throws {TypeError} Where the two disagree.
 */
export function defineKernel<
  const R extends string,
  const W extends string = never,
  const P extends string = never,
>(definition: KernelDefinition<R, W, P>): Kernel<R | W, P> {
  const { name, file, entry, reads, writes, constants = {} } = definition;
  checkOverrides(definition);
  const source = definition.element === "f16" ? withHalves(definition) : definition.source;
  const bindings = arrayBindings(definition);
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
    const expected = uniformFields(definition, definition.paramsVariable ?? "params");
    const stated = params.map(([field, type]) => `${snakeCase(field)}: ${type}`);
    if (expected.join(", ") !== stated.join(", ")) {
      throw new TypeError(
        `Cannot define ${name} as its parameters differ from ${file}: stated "${
          stated.join(", ")
        }", found "${expected.join(", ")}"`,
      );
    }
  }
  const size = workgroupSize(definition, entry);
  const kernel: Kernel<R | W, P> = {
    name,
    file,
    source,
    entry,
    constants,
    workgroupSize: size,
    arrays,
    params,
  };
  defined.push(kernel);
  return kernel;
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
