/**
 * One number for how good a network is, without a label, by which networks of different methods can
 * be compared.
 *
 * @module
 */
import type { Evaluation } from "./metrics.ts";

/** What is measured without labels, in percent. */
export type LabelFree = Pick<Evaluation, "agreement" | "correlation">;

/**
 * The label-free score, √(agreement · correlation), in percent; undefined where one is unknown.
 *
 * Each can be deceived in a way that the other cannot. Self-training makes a network sure of all
 * classes (`ClassCorrelation`) where they are wrong too, but it does not see the wrong ones alike in
 * views of other sizes (`Sights`); one that sees the same everywhere need not be sure. A
 * network that has lost classes loses in both.
 */
export function labelFreeScore({ agreement, correlation }: LabelFree): number | undefined {
  if (agreement === undefined || correlation === undefined) return undefined;
  return Math.sqrt(agreement * correlation);
}

/** What is measured without labels, of all that an evaluation holds. */
export function labelFreeOf({ agreement, correlation }: LabelFree): LabelFree {
  return {
    ...(correlation === undefined ? {} : { correlation }),
    ...(agreement === undefined ? {} : { agreement }),
  };
}
