/**
 * One number for how good a network is, without a label, by which networks of different methods can
 * be compared.
 *
 * @module
 */
import type { Evaluation } from "./metrics.ts";

/** What is measured without labels, in percent. */
export type LabelFree = Pick<Evaluation, "separation" | "agreement">;

/**
 * The label-free score, √(separation · agreement), in percent; undefined where one is unknown.
 *
 * Each can be deceived in a way that the other cannot: the same wrong classes in every view agree
 * (`measureAgreement`), but seldom look as different as the right ones do; classes that follow colours
 * and nothing else are separate (`Separation`), but do not stay the same at other scales. A network
 * that has lost classes loses in both.
 */
export function labelFreeScore({ separation, agreement }: LabelFree): number | undefined {
  if (separation === undefined || agreement === undefined) return undefined;
  return Math.sqrt(separation * agreement);
}
