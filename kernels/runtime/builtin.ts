// Modules that Deno and Node have built in, asked for when they are needed: browsers have none.

import type * as v8 from "node:v8";
import type * as vm from "node:vm";
import type * as zlib from "node:zlib";

interface BuiltinModules {
  readonly "node:v8": typeof v8;
  readonly "node:vm": typeof vm;
  readonly "node:zlib": typeof zlib;
}

/** A built-in module; undefined where the host has none. */
export function builtinModule<N extends keyof BuiltinModules>(
  name: N,
): BuiltinModules[N] | undefined {
  const { process } = globalThis as {
    readonly process?: {
      readonly getBuiltinModule?: (name: N) => BuiltinModules[N] | undefined;
    };
  };
  return process?.getBuiltinModule?.(name);
}
