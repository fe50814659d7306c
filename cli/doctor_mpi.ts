// `doctor --mpi`: whether several processes can train together, and what is missing for it.

import { basename, join } from "node:path";
import { DataError } from "../train/base/data_error.ts";
import { CollectiveError } from "../train/parallel/collective.ts";
import { launcherOf } from "../train/parallel/launcher.ts";
import { interfaceOf } from "../train/parallel/library.ts";
import { AGAIN, diagnose, type Diagnosis } from "./diagnosis.ts";
import { FailedRank, inJob, type Job } from "./job.ts";
import { libraryOf, type MpiFlags } from "./mpi_options.ts";
import { boundNote, placeOf, type SeenRank } from "./seen_rank.ts";

/** What several processes need. */
export interface MpiDiagnosis {
  /** The library's path; null where none was found. */
  readonly library: string | null;
  /** Its binary interface; null where it cannot be loaded. */
  readonly interface: string | null;
  /** Its version; null where it does not start. */
  readonly version: string | null;
  /** Programs on PATH that start processes. */
  readonly launchers: readonly string[];
  /** What has started this process; null where it was started alone. */
  readonly launcher: string | null;
  /** The processes of this job, by rank. */
  readonly ranks: readonly SeenRank[];
}

/** What `doctor` prints, with `--mpi` of several processes too. */
export interface JobDiagnosis extends Diagnosis {
  /** Of these; they decide whether training can run. */
  readonly mpi?: MpiDiagnosis;
}

/** A launcher on PATH. */
interface FoundLauncher {
  readonly path: string;
  /** What it belongs to; null where its file does not tell. */
  readonly family: string | null;
}

/** What is known before a process joins a job. */
type Found = Omit<MpiDiagnosis, "launchers"> & { readonly launchers: readonly FoundLauncher[] };

/**
 * Looks at the machine as one process of several. What goes wrong is the finding, but for what ends a job.
 *
 * @param show Shows the findings of all, on the first process; returns the exit code.
 */
export async function diagnoseMpi(
  flags: MpiFlags,
  show: (diagnosis: JobDiagnosis) => number,
): Promise<number> {
  const launchers = launchersOn(Deno.env.get("PATH") ?? "");
  const launcher = launcherOf((name) => Deno.env.get(name))?.name ?? null;
  let found: Found = {
    ...{ library: null, interface: null, version: null },
    ...{ launchers, launcher, ranks: [] },
  };
  try {
    const library = libraryOf(flags.mpi ?? true);
    found = { ...found, library };
    found = { ...found, interface: interfaceOf(library).name };
    // A library that no launcher has started may look for its own, and end the process without it.
    const problem = launcher === null ? missingLauncher(found) : null;
    if (problem !== null) return show(withMpi(await diagnose(), found, { flags, problem }));
    return await inJob(flags, (job) => diagnoseRank(job, found, { flags, show }));
  } catch (error) {
    const cause = error instanceof FailedRank && error.job.ranks.size === 1 ? error.cause : error;
    if (!(cause instanceof CollectiveError || cause instanceof DataError)) throw error;
    return show(withMpi(await diagnose(), found, { flags, problem: cause.message }));
  }
}

/** What a rank tells the others. */
interface Told {
  readonly seen: SeenRank | null;
  readonly problem: string | null;
}

async function diagnoseRank(
  job: Job,
  found: Found,
  { flags, show }: {
    readonly flags: MpiFlags;
    readonly show: (diagnosis: JobDiagnosis) => number;
  },
): Promise<number> {
  let seen: SeenRank | null = null;
  const unchosen = problemOf(() => job.chooseAdapter());
  const own = await diagnose((adapter) => void (seen = job.seen(adapter)));
  const ownProblem = unchosen ?? (own.ready ? null : own.verdict);
  const all = await job.gather<Told>({ seen, problem: ownProblem });
  if (!job.isFirst) return 0;
  const ranks = all.flatMap(({ seen }) => seen ? [seen] : []);
  const rank = all.findIndex(({ problem }) => problem !== null);
  const { engine: version, size } = job.ranks;
  const problem = rank >= 0
    ? size === 1 ? all[rank].problem : `Rank ${rank}: ${all[rank].problem}`
    : problemOf(() => job.checkDistinct(ranks));
  return show(withMpi(own, { ...found, version, ranks }, { flags, problem }));
}

/** The sentence about what is wrong, if anything is. */
function problemOf(check: () => void): string | null {
  try {
    check();
    return null;
  } catch (error) {
    if (error instanceof DataError) return error.message;
    throw error;
  }
}

/** The findings together; the problem is what keeps several processes from training, null for nothing. */
function withMpi(
  own: Diagnosis,
  found: Found,
  { flags, problem }: { readonly flags: MpiFlags; readonly problem: string | null },
): JobDiagnosis {
  const launchers = found.launchers.map(({ path, family }) =>
    family ? `${path} (${family})` : path
  );
  const mpi = { ...found, launchers };
  const [, again] = AGAIN;
  if (problem !== null) {
    return { ...own, ready: false, verdict: problem, next: ["./run doctor --mpi", again], mpi };
  }
  const size = found.ranks.length;
  const command = [
    size > 1 ? "mpirun" : fitting(found)[0]?.path ?? "mpirun",
    `-n ${size > 1 ? size : 2}`,
    ...found.interface === "Open MPI" ? ["--bind-to none"] : [],
    "./run train --mpi",
    ...typeof flags.mpi === "string" ? [flags.mpi] : [],
    ...flags.shareAdapter || own.software ? ["--share-adapter"] : [],
  ];
  const verdict = size > 1
    ? "Ready: these processes can train together"
    : "Ready, for what one process can tell: start doctor by a launcher as well, to see whether each gets " +
      "an adapter";
  return { ...own, verdict, next: [command.join(" "), "trains one network by all of them"], mpi };
}

/** The launchers whose processes the library would know. */
function fitting({ interface: own, launchers }: Found): readonly FoundLauncher[] {
  return launchers.filter(({ family }) =>
    family === null || family === "Slurm" || (own !== "MPICH" && own !== "Open MPI") ||
    family === own
  );
}

function missingLauncher(found: Found): string | null {
  if (fitting(found).length > 0) return null;
  const others = found.launchers.map(({ path }) => path).join(", ");
  return `Cannot start several processes as PATH has no launcher of ${found.interface}` +
    `${
      others === "" ? "" : `, but ${others}`
    }: expected mpirun, mpiexec or srun; install one (on Debian ` +
    "openmpi-bin or mpich), load the module that has it, or name the library of the one that is there";
}

const LAUNCHERS = ["mpirun", "mpiexec", "mpirun.openmpi", "mpirun.mpich", "mpiexec.hydra", "srun"];
/** What launchers belong to, by the names of the files that they turn out to be. */
const FAMILIES: readonly (readonly [RegExp, string])[] = [
  [/^(orterun|prterun|.*openmpi)$/, "Open MPI"],
  [/^(mpiexec\.hydra|.*mpich)$/, "MPICH"],
  [/^srun$/, "Slurm"],
];

function launchersOn(path: string): FoundLauncher[] {
  return LAUNCHERS.flatMap((name) => {
    for (const folder of path.split(":")) {
      try {
        const file = basename(Deno.realPathSync(join(folder, name)));
        const family = FAMILIES.find(([pattern]) => pattern.test(file))?.[1] ?? null;
        return [{ path: join(folder, name), family }];
      } catch {
        // the next one
      }
    }
    return [];
  });
}

/** The findings for people. */
export function mpiLines(mpi: MpiDiagnosis): [string, string][] {
  const { library, interface: own, version, launchers, launcher, ranks } = mpi;
  return [
    ["MPI", library ?? "no library"],
    ["MPI version", version ?? "unknown"],
    ["MPI interface", own ?? "unknown"],
    ["launchers", launchers.join(", ") || "none on PATH"],
    ["started by", launcher ?? "no launcher"],
    ...ranks.map((seen, rank): [string, string] => [`rank ${rank}`, placeOf(seen)]),
    ...boundNote(ranks).map((note): [string, string] => ["note", note]),
  ];
}
