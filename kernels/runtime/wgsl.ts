// What launchers and WGSL share is written in the WGSL alone: this reads it from there.

import type { DType } from "./shape.ts";

/** The text of a WGSL file. */
export interface WgslFile {
  /** Its path, for errors. */
  readonly file: string;
  /** Its text. */
  readonly source: string;
  /** Values of `override` constants, where they are not those of the text. */
  readonly constants?: Readonly<Record<string, number>>;
}

/** An array binding, as WGSL declares it. */
export interface WgslBinding {
  /** Binding number in group 0. */
  readonly binding: number;
  /** Whether it is declared `read_write`. */
  readonly writable: boolean;
  /** Element type, where a plain one is named. */
  readonly dtype: DType | undefined;
}

/** The arrays that are bound, by name. */
export function arrayBindings({ source }: WgslFile): Map<string, WgslBinding> {
  const pattern =
    /@group\(0\)\s*@binding\((\d+)\)\s*var<storage,\s*(read|read_write)>\s*(\w+)\s*:\s*array<([^;]+)>\s*;/g;
  const bindings = new Map<string, WgslBinding>();
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

/** The fields of the struct that a uniform variable holds, `name: type` each; none without one. */
export function uniformFields(wgsl: WgslFile, variable: string): string[] {
  const declared = new RegExp(
    `@group\\(1\\)\\s*@binding\\(0\\)\\s*var<uniform>\\s*${variable}\\s*:\\s*(\\w+)`,
  ).exec(withoutComments(wgsl.source));
  return structFields(wgsl, declared?.[1] ?? "");
}

/** The fields of a struct, `name: type` each; none if there is no such struct. */
export function structFields({ source }: WgslFile, struct: string): string[] {
  const pattern = new RegExp(`struct\\s+${struct}\\s*\\{([^}]*)\\}`);
  const body = pattern.exec(withoutComments(source))?.[1] ?? "";
  return body.split(",").map((field) => field.trim().replace(/\s*:\s*/, ": ")).filter(Boolean);
}

/**
 * Invocations of a workgroup of an entry point.
 *
 * @throws {TypeError} If there is no such entry point, or its size is no number.
 */
export function workgroupSize(wgsl: WgslFile, entry: string): number {
  const pattern = new RegExp(`@workgroup_size\\(([^)]*)\\)\\s*fn\\s+${entry}\\s*\\(`);
  const sides = pattern.exec(withoutComments(wgsl.source))?.[1];
  if (sides === undefined) {
    throw new TypeError(`Cannot use the entry point "${entry}" as ${wgsl.file} has none such`);
  }
  const numbers = numbersOf(wgsl);
  const size = product(sides.split(/[,*]/), numbers);
  if (size === undefined) {
    throw new TypeError(
      `Cannot use the entry point "${entry}" as the workgroup size "${sides}" in ${wgsl.file} must ` +
        `consist of numbers and of constants: those are ${[...numbers.keys()].join(", ")}`,
    );
  }
  return size;
}

/**
 * Numbers that a WGSL file gives to `const` or `override` names at its top level: literals, and
 * products of literals and other such names.
 *
 * @param wgsl A file, or a kernel of it.
 * @throws {TypeError} If the file has no such number.
 */
export function wgslConstants<const N extends string>(
  wgsl: WgslFile,
  ...names: readonly N[]
): Readonly<Record<N, number>> {
  const numbers = numbersOf(wgsl);
  const found = names.map((name) => {
    const number = numbers.get(name);
    if (number === undefined) {
      throw new TypeError(
        `Cannot read the constant ${name} as ${wgsl.file} gives no number to that name: it has ` +
          [...numbers.keys()].join(", "),
      );
    }
    return [name, number] as const;
  });
  return Object.fromEntries(found) as Record<N, number>;
}

/**
 * The text with `alias Element` as f16 instead of f32.
 *
 * @throws {TypeError} If it has no such alias.
 */
export function withHalves({ file, source }: WgslFile): string {
  const alias = /^alias Element = f32;/m;
  if (!alias.test(source)) {
    throw new TypeError(`Cannot use ${file} with f16 as it has no line "alias Element = f32;"`);
  }
  // On the first line, so that errors name the lines of the file.
  return `enable f16; ${source.replace(alias, "alias Element = f16;")}`;
}

/** @throws {TypeError} If a value is given for what is no `override` constant. */
export function checkOverrides({ file, source, constants = {} }: WgslFile): void {
  const overrides = declarations(source).flatMap(([kind, name]) => kind === "override" ? name : []);
  for (const name of Object.keys(constants)) {
    if (!overrides.includes(name)) {
      throw new TypeError(
        `Cannot give a value to ${name} as ${file} has no such override: it has ${
          overrides.join(", ") || "none"
        }`,
      );
    }
  }
}

function numbersOf({ source, constants = {} }: WgslFile): Map<string, number> {
  const numbers = new Map<string, number>();
  for (const [, name, expression] of declarations(source)) {
    const value = constants[name] ?? product(expression.split("*"), numbers);
    if (value !== undefined) numbers.set(name, value);
  }
  return numbers;
}

/** Kind, name and value of the constants at the top level, whose lines are not indented. */
function declarations(source: string): [kind: string, name: string, expression: string][] {
  const pattern = /^(const|override)\s+(\w+)\s*(?::\s*\w+\s*)?=\s*([^;]+);/gm;
  return [...withoutComments(source).matchAll(pattern)]
    .map(([, kind = "", name = "", expression = ""]) => [kind, name, expression]);
}

/** The product of literals and names, undefined where one is neither. */
function product(
  factors: readonly string[],
  numbers: ReadonlyMap<string, number>,
): number | undefined {
  let result = 1;
  for (const factor of factors) {
    const text = factor.trim();
    const value = /^\d+[ui]?$/.test(text) ? parseInt(text) : numbers.get(text);
    if (value === undefined) return undefined;
    result *= value;
  }
  return result;
}

function withoutComments(source: string): string {
  return source.replace(/\/\/.*$/gm, "");
}
