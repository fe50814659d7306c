// How the process of a part ended.

/** An exit code, the name of a signal, or `limit` where it was killed for its time. */
export type Ending = number | string;

/** The end of a process in words. */
export function describeEnd(ending: Ending, seconds: number): string {
  if (ending === "limit") return `stopped after its ${seconds} s`;
  if (ending === "limit, unkillable") {
    return `it took more than its ${seconds} s and could not even be killed: the driver hangs`;
  }
  if (ending === "SIGABRT" || ending === 134) return "its process was aborted (SIGABRT)";
  if (ending === "SIGSEGV" || ending === 139) return "its process crashed (SIGSEGV)";
  return typeof ending === "string"
    ? `its process was ended by ${ending}`
    : `its process ended with code ${ending}`;
}
