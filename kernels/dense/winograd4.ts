// Winograd's F(4 × 4, 3 × 3), for GPUs; formulas in the WGSL.

import source from "./winograd4.wgsl" with { type: "text" };
import { winogradForm } from "./winograd_form.ts";

/** Tiles of 4 × 4 outputs: a quarter of the products, and rounding errors about twice as large. */
export const WINOGRAD4 = winogradForm(
  { file: "kernels/dense/winograd4.wgsl", source },
  "winograd4",
  { software: false },
);
