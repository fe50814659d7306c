// One adapter for each rank of a machine. WebGPU neither lists adapters nor tells where one is plugged in:
// Mesa's device-select layer, through which all Vulkan drivers are asked, hides all but one of them, by
// variables that it reads when adapters are asked for.

import { DataError, shortList } from "../base/data_error.ts";

/** The environment variables that are read and set. */
export const ADAPTER_VARIABLES: readonly string[] = [
  "DENO_WEBGPU_BACKEND",
  "DRI_PRIME",
  "LP_NUM_THREADS",
  "MESA_VK_DEVICE_SELECT",
];

/** A GPU as the system lists it. */
export interface ListedGpu {
  /** Where it is plugged in: `0000:65:00.0`. */
  readonly address: string;
  /** Whose and which kind it is, as PCI numbers them in hexadecimal: `10de:2330`. */
  readonly kind: string;
}

/** What is known before an adapter is asked for. */
export interface AdapterFacts {
  /** The GPUs that this process may open. */
  readonly gpus: readonly ListedGpu[];
  /** The adapters that the user names, by local rank: PCI addresses, or `vendor:device`; null for none. */
  readonly asked: readonly string[] | null;
  /** This rank among those of its machine, and how many these are. */
  readonly localRank: number;
  readonly localRanks: number;
  /** Whether ranks may share an adapter. */
  readonly shares: boolean;
  /** Reads an environment variable. */
  readonly read: (name: string) => string | undefined;
}

/** Which adapter a rank is to get. */
export interface AdapterChoice {
  /** What is set before it is asked for. */
  readonly environment: Readonly<Record<string, string>>;
  /** The PCI address or the kind that is wanted; null where the first is taken that there is. */
  readonly wanted: string | null;
  /** The kind that it must turn out to be, `vendor:device`; null where that is not known. */
  readonly kind: string | null;
}

const ADDRESS = /^[\da-f]{4}:[\da-f]{2}:[\da-f]{2}\.[0-7]$/i;
const KIND = /^[\da-f]{1,5}:[\da-f]{1,5}$/i;

/** Whether a text names an adapter: a PCI address, or `vendor:device`. */
export function isAdapterName(text: string): boolean {
  return ADDRESS.test(text) || KIND.test(text);
}

/** Reads what `cli/gpus.sh` lists. Those of the processor's own bus come last: most are small. */
export function readGpus(listed: string): ListedGpu[] {
  const gpus = listed.split("\n").map((line) => line.split(" "))
    .filter(([address = "", kind = ""]) => ADDRESS.test(address) && KIND.test(kind))
    .map(([address, kind]) => ({ address, kind }));
  const rank = ({ address }: ListedGpu) => `${address.slice(5, 7) === "00" ? 1 : 0} ${address}`;
  return gpus.sort((a, b) => rank(a) < rank(b) ? -1 : 1);
}

/**
 * Chooses the adapter of a rank: what the user names, else one GPU for each rank of the machine. Nothing
 * is set where there is nothing to choose, such as where a scheduler shows one GPU to each process.
 *
 * @throws {DataError} If there are fewer adapters than ranks, which do not share.
 */
export function chooseAdapter(facts: AdapterFacts): AdapterChoice {
  const { gpus, asked, localRank, localRanks, shares, read } = facts;
  if (asked) {
    checkEnough("named", asked, localRanks, shares);
    return choiceOf(asked[localRank % asked.length], gpus);
  }
  for (const name of ["MESA_VK_DEVICE_SELECT", "DRI_PRIME"]) {
    const given = read(name);
    if (given) return { environment: {}, wanted: `${name}=${given}`, kind: null };
  }
  if (gpus.length === 1) return { environment: {}, wanted: gpus[0].address, kind: null };
  if (gpus.length === 0 || localRanks === 1) return { environment: {}, wanted: null, kind: null };
  const addresses = gpus.map(({ address }) => address);
  checkEnough("open to it", addresses, localRanks, shares);
  return choiceOf(addresses[localRank % addresses.length], gpus);
}

function choiceOf(wanted: string, gpus: readonly ListedGpu[]): AdapterChoice {
  if (KIND.test(wanted)) {
    return {
      environment: { MESA_VK_DEVICE_SELECT: `${wanted}!` },
      wanted,
      kind: wanted,
    };
  }
  const kind = gpus.find(({ address }) => address === wanted)?.kind ?? null;
  return {
    environment: { DRI_PRIME: `pci-${wanted.replace(/[:.]/g, "_")}!` },
    wanted,
    kind,
  };
}

function checkEnough(
  how: string,
  adapters: readonly string[],
  localRanks: number,
  shares: boolean,
): void {
  if (shares || adapters.length >= localRanks) return;
  throw new DataError(
    `Cannot give each rank an adapter as this machine has ${localRanks} ranks, and only ` +
      `${shortList(adapters)} ${
        adapters.length === 1 ? "is" : "are"
      } ${how}: expected one for each; ` +
      "start fewer ranks on a machine, name more adapters, or let ranks share them",
    { options: ["adapters", "shareAdapter"] },
  );
}

/** Folders of the layers that the Vulkan loader puts before drivers. */
const LAYER_FOLDERS = [
  "/usr/share/vulkan/implicit_layer.d",
  "/usr/local/share/vulkan/implicit_layer.d",
  "/etc/vulkan/implicit_layer.d",
  "/run/opengl-driver/share/vulkan/implicit_layer.d",
];
const LAYER = "VkLayer_MESA_device_select.json";

/**
 * Refuses to choose where nothing would heed it.
 *
 * @param folders Those that are looked in.
 * @throws {DataError} If Mesa's layer is not installed.
 */
export function checkLayer(folders: readonly string[] = LAYER_FOLDERS): void {
  const isThere = folders.some((folder) => {
    try {
      return Deno.statSync(`${folder}/${LAYER}`).isFile;
    } catch {
      return false;
    }
  });
  if (isThere) return;
  throw new DataError(
    `Cannot give each rank an adapter as ${LAYER} is in none of ${
      folders.join(", ")
    }: expected Mesa's ` +
      "layer, which chooses among the adapters of all drivers; install it (on Debian " +
      "mesa-vulkan-drivers), or let the scheduler show each rank one GPU",
  );
}

/** An adapter as WebGPU names it, with vendor and device as decimal numbers. */
export interface SeenAdapter {
  readonly description: string;
  readonly vendor: string;
  readonly device?: string | undefined;
}

/** The kind of an adapter: `10de:2330`. */
export function kindOf({ vendor, device = "" }: SeenAdapter): string {
  return [vendor, device].map((id) => Number(id).toString(16)).join(":");
}

/**
 * Refuses an adapter that is not the one that was asked for: the layer passes over names that it does not
 * know.
 *
 * @throws {DataError} If it is of another kind.
 */
export function checkChosen({ wanted, kind }: AdapterChoice, seen: SeenAdapter): void {
  if (kind === null || sameKind(kind, kindOf(seen))) return;
  throw new DataError(
    `Cannot train on adapter ${wanted} as "${seen.description}" (${
      kindOf(seen)
    }) was given in its place: ` +
      `expected ${kind}; check the adapter's driver, or name another one`,
    { options: ["adapters"] },
  );
}

function sameKind(a: string, b: string): boolean {
  const numbers = (kind: string) => kind.split(":").map((id) => parseInt(id, 16)).join();
  return numbers(a) === numbers(b);
}

/** The adapter of a rank. */
export interface RankAdapter {
  readonly host: string;
  readonly description: string;
  /** By what it was selected; null where the first was taken that there was. */
  readonly wanted: string | null;
}

/**
 * Refuses two ranks of a machine on one adapter, as far as that can be told: by what was selected, and
 * where nothing was, by what adapters are called.
 *
 * @param all By rank.
 * @throws {DataError} If two have the same.
 */
export function checkDistinct(all: readonly RankAdapter[]): void {
  const first = new Map<string, number>();
  all.forEach(({ host, description, wanted }, rank) => {
    const place = JSON.stringify([host, wanted ?? description]);
    const other = first.get(place);
    if (other === undefined) return void first.set(place, rank);
    const how = wanted === null
      ? `both were given the first that there is, "${description}"`
      : `both were to get ${wanted}, "${description}"`;
    throw new DataError(
      `Cannot train as ranks ${other} and ${rank} on ${host} have one adapter (${how}): expected one for ` +
        "each; start fewer ranks on a machine, name an adapter for each, or let them share it",
      { options: ["adapters", "shareAdapter"] },
    );
  });
}

/** The threads that each of several ranks on one software adapter computes with. */
export function threadsFor(processors: number, localRanks: number): number {
  return Math.max(1, Math.floor(processors / localRanks));
}
