// What the forms of Winograd's algorithm have in common: winograd.wgsl and winograd4.wgsl declare
// the same entry points and parameters, for tiles of other sizes.

import { defineKernel, type Kernel, wgslConstants, type WgslFile } from "../runtime/mod.ts";

/** Fields of `WeightParams` in the WGSL. */
const WEIGHT_PARAMS = {
  rows: "u32",
  columns: "u32",
  rowStep: "u32",
  columnStep: "u32",
  reversed: "u32",
  origin: "u32",
  first: "u32",
} as const;

/** Fields of `Params` in the WGSL. */
const PARAMS = {
  firstImage: "u32",
  images: "u32",
  channels: "u32",
  height: "u32",
  width: "u32",
  tileRows: "u32",
  tileColumns: "u32",
  tileQuads: "u32",
  channelQuads: "u32",
  outChannels: "u32",
  outChannelQuads: "u32",
  dilation: "u32",
  padding: "i32",
  hasBias: "u32",
} as const;

/** Fields of `TotalParams` in the WGSL. */
const TOTAL_PARAMS = {
  channels: "u32",
  outChannels: "u32",
  channelQuads: "u32",
  splits: "u32",
  accumulate: "u32",
} as const;

/** Values of `WeightParams` in the WGSL. */
export type WinogradWeightParams = Readonly<Record<keyof typeof WEIGHT_PARAMS, number>>;

/** Values of `Params` in the WGSL. */
export type WinogradParams = Readonly<Record<keyof typeof PARAMS, number>>;

/** Winograd's algorithm for tiles of one size. */
export interface WinogradForm {
  /** In `gpu.choices`. */
  readonly name: string;
  /** Rows and columns of the outputs of a tile. */
  readonly side: number;
  /** Products of a tile. */
  readonly places: number;
  /** Neighbours along the last axis of what an invocation writes. */
  readonly owned: number;
  /** `transform_weight`. */
  readonly weight: Kernel<"weight" | "u", keyof typeof WEIGHT_PARAMS>;
  /** `transform_weights`; a row of the table is a `WeightParams`. */
  readonly weights: Kernel<"weight" | "table" | "u">;
  /** `transform_input`. */
  readonly input: Kernel<"x" | "v", keyof typeof PARAMS>;
  /** `transform_output`, which overwrites. */
  readonly output: Kernel<"m" | "bias" | "y", keyof typeof PARAMS>;
  /** `transform_output`, which adds. */
  readonly outputAdd: Kernel<"m" | "bias" | "y", keyof typeof PARAMS>;
  /** `transform_by_tile`. */
  readonly byTile: Kernel<"x" | "gradY" | "v" | "t", keyof typeof PARAMS>;
  /** `transform_inputs_by_tile` and `transform_gradients_by_tile`, where the form has them. */
  readonly byTileApart: {
    readonly inputs: Kernel<"x" | "v", keyof typeof PARAMS>;
    readonly gradients: Kernel<"gradY" | "t", keyof typeof PARAMS>;
  } | null;
  /** `total_weight`. */
  readonly total: Kernel<"m" | "gradWeight", keyof typeof TOTAL_PARAMS>;
}

/**
 * The form that a WGSL file computes.
 *
 * @param options.software Whether software adapters take it, for which the WGSL has more entries.
 */
export function winogradForm(
  shared: WgslFile,
  name: string,
  options: { readonly software: boolean },
): WinogradForm {
  const { PLACES, SIDE, OWNED } = wgslConstants(shared, "PLACES", "SIDE", "OWNED");
  const tiles = { ...shared, params: PARAMS } as const;
  const outputs = {
    ...tiles,
    entry: "transform_output",
    reads: ["m", "bias"],
    writes: ["y"],
  } as const;
  return {
    name,
    side: SIDE,
    places: PLACES,
    owned: OWNED,
    weight: defineKernel({
      ...shared,
      name: `${name}.weight`,
      entry: "transform_weight",
      reads: ["weight"],
      writes: ["u"],
      paramsVariable: "weight_params",
      params: WEIGHT_PARAMS,
    }),
    weights: defineKernel({
      ...shared,
      name: `${name}.weights`,
      entry: "transform_weights",
      reads: ["weight", "table"],
      writes: ["u"],
    }),
    input: defineKernel({
      ...tiles,
      name: `${name}.input`,
      entry: "transform_input",
      reads: ["x"],
      writes: ["v"],
    }),
    output: defineKernel({ ...outputs, name: `${name}.output` }),
    outputAdd: defineKernel({
      ...outputs,
      name: `${name}.output_add`,
      constants: { ACCUMULATE: 1 },
    }),
    byTile: defineKernel({
      ...tiles,
      name: `${name}.by_tile`,
      entry: "transform_by_tile",
      reads: ["x", "gradY"],
      writes: ["v", "t"],
    }),
    byTileApart: options.software
      ? {
        inputs: defineKernel({
          ...tiles,
          name: `${name}.inputs_by_tile`,
          entry: "transform_inputs_by_tile",
          reads: ["x"],
          writes: ["v"],
        }),
        gradients: defineKernel({
          ...tiles,
          name: `${name}.gradients_by_tile`,
          entry: "transform_gradients_by_tile",
          reads: ["gradY"],
          writes: ["t"],
        }),
      }
      : null,
    total: defineKernel({
      ...shared,
      name: `${name}.weight_total`,
      entry: "total_weight",
      reads: ["m"],
      writes: ["gradWeight"],
      paramsVariable: "total_params",
      params: TOTAL_PARAMS,
    }),
  };
}
