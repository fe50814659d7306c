// Bind groups have no destroy(): only a garbage collection frees them, and GPU memory does not
// trigger one. On Linux drivers each is a memory mapping, of which a process may have 65,530.

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let collect: (() => void) | undefined;

/** Runs a full garbage collection; tens of milliseconds. */
export function collectGarbage(): void {
  if (!collect) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  collect();
}
