// One process alone, which needs no engine.

import type { Collective } from "./collective.ts";

/** The only rank. */
export class Solo implements Collective {
  readonly rank = 0;
  readonly size = 1;
  readonly localRank = 0;
  readonly engine = "one process";

  allReduce(): Promise<void> {
    return Promise.resolve();
  }

  broadcast(): Promise<void> {
    return Promise.resolve();
  }

  barrier(): Promise<void> {
    return Promise.resolve();
  }

  abort(exitCode: number): never {
    Deno.exit(exitCode);
  }

  close(): void {}
}
