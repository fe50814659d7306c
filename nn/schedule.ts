// Learning-rate schedules, as factors of the rate at step 0.

/**
 * The polynomial schedule of DeepLab: `(1 - step / total) ^ power`, and 0 from `total` on.
 *
 * @param step Steps done so far.
 * @param total Step at which the factor reaches 0.
 */
export function polynomial(step: number, total: number, power = 0.9): number {
  return Math.max(0, 1 - step / total) ** power;
}
