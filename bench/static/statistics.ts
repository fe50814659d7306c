// What RADV says of a pipeline: its statistics, and what its innermost loop of products holds.

/** What is measured of a kernel without running it. */
export interface Statistics {
  /** Vector registers of an invocation. */
  readonly registers: number;
  /** Registers that did not fit, and lie in memory. */
  readonly spills: number;
  /** Bytes of workgroup memory. */
  readonly ldsBytes: number;
  /** Subgroups that a SIMD can hold at once. */
  readonly waves: number;
  readonly codeBytes: number;
  /**
   * Waits in the loop, before its first product, for loads that the same pass through it has
   * issued; loads that are issued together count as one. 0 where loads run ahead of the products.
   */
  readonly exposedWaits: number;
  /** The driver's estimate of the cycles that a subgroup takes, where every loop has 8 passes. */
  readonly latency: number;
  /** Its estimate of the cycles between two subgroups where many run. */
  readonly inverseThroughput: number;
  /** Multiply-adds of an invocation in one pass through the loop. */
  readonly products: number;
  /** Other vector operations in it, scalar ones, and accesses to workgroup and global memory. */
  readonly vector: number;
  readonly scalar: number;
  readonly lds: number;
  readonly loads: number;
}

const PRODUCT = /^v_(pk_|dual_)?(fmac?|fmaak|fmamk|mac|mad|madak|madmk)_(mix_|mixlo_)?f(32|16)/;
const LOAD = /^(buffer|global)_load/;
const LDS = /^ds_/;
const VECTOR = /^v_/;
/** Waits, hints to the scheduler and barriers are no work. */
const SCALAR = /^s_(?!wait|delay|nop|clause|barrier|inst)/;

/**
 * Reads what `RADV_DEBUG=asm,shaderstats` printed of one compute pipeline.
 *
 * @throws {TypeError} If it holds no statistics.
 */
export function parseStatistics(text: string): Statistics {
  const number = (name: string) => {
    const found = new RegExp(`^${name}: (\\d+)$`, "m").exec(text)?.[1];
    if (found === undefined) {
      throw new TypeError(`Cannot read "${name}" as the driver has not printed it:\n${text}`);
    }
    return Number(found);
  };
  return {
    registers: number("VGPRs"),
    spills: number("Spilled VGPRs") + number("Spilled SGPRs"),
    ldsBytes: number("LDS size"),
    waves: number("Subgroups per SIMD"),
    codeBytes: number("Code size"),
    latency: number("Latency"),
    inverseThroughput: number("Inverse Throughput"),
    ...loopStatistics(productLoop(text)),
  };
}

/** Operations in order, one for each half of a dual instruction, with their operands. */
type Operation = string;

function operations(line: string): Operation[] {
  const [instruction = ""] = line.split(/\s(?:;|\/\/)/);
  return instruction.split("::").map((part) => part.trim()).filter(Boolean);
}

/** The loop with the most products, the innermost of several; empty where there is no loop. */
function productLoop(text: string): Operation[] {
  const labels = new Map<string, number>();
  const code: Operation[] = [];
  let best: Operation[] = [];
  const products = (loop: Operation[]) =>
    loop.filter((operation) => PRODUCT.test(operation)).length;
  for (const line of text.split("\n")) {
    const label = /^(BB\d+):/.exec(line)?.[1];
    if (label !== undefined) labels.set(label, code.length);
    else if (/^\s+[a-z]/.test(line)) code.push(...operations(line));
    const target = /^\s+s_c?branch\w*\s+(BB\d+)/.exec(line)?.[1];
    const start = target === undefined ? undefined : labels.get(target);
    if (start === undefined) continue; // no branch, or one forwards
    const loop = code.slice(start);
    const gain = products(loop) - products(best);
    if (best.length === 0 || gain > 0 || (gain === 0 && loop.length < best.length)) best = loop;
  }
  return best;
}

function loopStatistics(loop: readonly Operation[]) {
  const count = (pattern: RegExp) => loop.filter((operation) => pattern.test(operation)).length;
  const products = count(PRODUCT);
  return {
    exposedWaits: exposedWaits(loop),
    products,
    vector: count(VECTOR) - products,
    scalar: count(SCALAR),
    lds: count(LDS),
    loads: count(LOAD),
  };
}

function exposedWaits(loop: readonly Operation[]): number {
  let [loads, waits, isNew] = [0, 0, false];
  for (const operation of loop) {
    if (PRODUCT.test(operation)) break;
    if (LOAD.test(operation)) [loads, isNew] = [loads + 1, true];
    const left = outstandingLoads(operation);
    // Loads return in order: with fewer left than were issued here, one of these was waited for.
    // Those issued together are waited for one by one, for little longer than for the first.
    if (left !== undefined && left < loads && isNew) [waits, isNew] = [waits + 1, false];
  }
  return waits;
}

/** How many loads may be outstanding after a wait; undefined where it does not wait for loads. */
function outstandingLoads(operation: Operation): number | undefined {
  const count = /^s_waitcnt.* vmcnt\((\d+)\)/.exec(operation)?.[1];
  return count === undefined ? undefined : Number(count);
}
