// What is told of the ranks of a job.

import type { RankAdapter } from "../train/parallel/adapters.ts";

/** What is told of a rank. */
export interface SeenRank extends RankAdapter {
  /** Processors that it may use. */
  readonly processors: number;
  /** Threads of a software adapter, where ranks share it; null where it takes as many as it likes. */
  readonly threads: number | null;
}

/** What to say of ranks that have been bound to one processor each, as Open MPI does unless told; else nothing. */
export function boundNote(all: readonly SeenRank[]): string[] {
  if (all.length === 1 || all.every(({ processors }) => processors > 1)) return [];
  return [
    "a rank may use one processor only, which also prepares its images: if its machine has more, " +
    "mpirun --bind-to none gives it all of them",
  ];
}

/** `node7, 8 processors: H200 (0000:65:00.0)`. */
export function placeOf({ host, description, wanted, processors, threads }: SeenRank): string {
  const parts = [
    host,
    count(processors, "processor", "processors"),
    ...threads === null ? [] : [count(threads, "thread", "threads")],
  ];
  return `${parts.join(", ")}: ${description}${wanted === null ? "" : ` (${wanted})`}`;
}

/** `1 process`, `2 processes`. */
export function count(number: number, one: string, several: string): string {
  return `${number} ${number === 1 ? one : several}`;
}
