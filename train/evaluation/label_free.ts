/**
 * One number for how good a network is, without a label, by which networks of different methods can
 * be compared.
 *
 * @module
 */
import type { Evaluation } from "./metrics.ts";

/** What is measured without labels, in percent. */
export type LabelFree = Pick<Evaluation, "separation" | "correlation">;

/**
 * The label-free score, √(separation · correlation), in percent; undefined where one is unknown.
 *
 * Each can be deceived in a way that the other cannot. Self-training makes a network sure and balanced
 * (`ClassCorrelation`) of what is wrong too, but wrong classes seldom look as different as the right
 * ones do; classes that follow colours and nothing else are separate (`Separation`), but not sure. A
 * network that has lost classes loses in both.
 */
export function labelFreeScore({ separation, correlation }: LabelFree): number | undefined {
  if (separation === undefined || correlation === undefined) return undefined;
  return Math.sqrt(separation * correlation);
}

/** What is measured without labels, of all that an evaluation holds. */
export function labelFreeOf({ separation, correlation }: LabelFree): LabelFree {
  return {
    ...(correlation === undefined ? {} : { correlation }),
    ...(separation === undefined ? {} : { separation }),
  };
}
