// Bind groups have no destroy(): only a garbage collection frees them, and GPU memory does not
// trigger one. On Linux drivers each is a memory mapping, of which a process may have 65,530.

import { builtinModule } from "./builtin.ts";

let collect: (() => void) | undefined;

/** Runs a full garbage collection; tens of milliseconds. Browsers alone decide when they collect. */
export function collectGarbage(): void {
  collect ??= collector();
  collect();
}

function collector(): () => void {
  const [v8, vm] = [builtinModule("node:v8"), builtinModule("node:vm")];
  if (!v8 || !vm) return () => {};
  v8.setFlagsFromString("--expose-gc");
  return vm.runInNewContext("gc") as () => void;
}
