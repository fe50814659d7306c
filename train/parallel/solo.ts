// One process alone, which needs no engine.

import { type Collective, CollectiveError } from "./collective.ts";

/** The only rank. */
export class Solo implements Collective {
  readonly rank = 0;
  readonly size = 1;
  readonly localRank = 0;
  readonly engine = "one process";
  readonly times = { reduce: 0, wait: 0 };

  allReduce(): Promise<void> {
    return Promise.resolve();
  }

  sumInHalves(): Promise<void> {
    return Promise.resolve();
  }

  broadcast(): Promise<void> {
    return Promise.resolve();
  }

  barrier(): Promise<void> {
    return Promise.resolve();
  }

  abort(exitCode: number): never {
    throw new CollectiveError(`The only rank was ended with ${exitCode}`);
  }

  close(): void {}
}
