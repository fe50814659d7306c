// Convolution with 3 × 3 taps by Winograd's F(2 × 2, 3 × 3): tiles of 2 × 2 outputs from 4 × 4
// inputs by 16 products instead of 36 (Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks", 2016).
//
//   y_tile = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x_tile B)] A, summed over channels between the brackets
//   transform_weight: u = G w Gᵀ                                    [16, row, column]
//   transform_weights: the same of all weights in `table`
//   transform_input:  v = Bᵀ x_tile B                               [16, channel, tile]
//   matmul.wgsl:      m = Σ_row u v                                 [16, out channel, tile]
//   transform_output: y = Aᵀ m A (+ bias), overwritten or, by ACCUMULATE, added to
// and for the gradient of w, where sums run over tiles:
//   transform_by_tile: v = Bᵀ x_tile B                      [16, tile, channel]
//                      t = A grad_y_tile Aᵀ                 [16, tile, out channel]
//   matmul.wgsl:       m = Σ_tile t v                       [16, split, out channel, channel]
//   total_weight:      grad_w = Gᵀ (Σ_split m) G, overwritten or, by `accumulate`, added to
// where software adapters are faster by two entry points, transform_inputs_by_tile and
// transform_gradients_by_tile.
//
// With dilation d, the pixels of a tile lie d apart: each of the d × d interleaved lattices has
// tiles of its own. Tiles are numbered (image, row, column); tile row r is row r / d of lattice r %
// d.
// x: [N, channels, height, width]; y, grad_y: [N, out channels, height, width]; weight: a strided
// view, rows to sum over and columns of the result, from element `origin` on, whose u starts at
// quad `first`; grad_weight: [O, C, 3, 3]. The last axis of u, v, m and t is in quads of
// neighbours, padded with zeros; tiles come in `tile_quads` quads.
// An invocation owns one quad at all 16 places, or 2 × 2 outputs of four tiles in one channel, or
// the taps of four input channels; all but transform_output and total_weight overwrite.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(2) var<storage, read> m: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> u: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(9) var<storage, read> grad_y: array<f32>;
@group(0) @binding(10) var<storage, read_write> t: array<vec4f>;

struct WeightParams {
  rows: u32,
  columns: u32,
  row_step: u32,
  column_step: u32,
  reversed: u32,
  origin: u32,
  first: u32,
}
@group(1) @binding(0) var<uniform> weight_params: WeightParams;
@group(0) @binding(8) var<storage, read> table: array<WeightParams>;

struct Params {
  first_image: u32,
  images: u32,
  channels: u32,
  height: u32,
  width: u32,
  tile_rows: u32,
  tile_columns: u32,
  tile_quads: u32,
  channel_quads: u32,
  out_channels: u32,
  out_channel_quads: u32,
  dilation: u32,
  padding: i32,
  has_bias: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

struct TotalParams {
  channels: u32,
  out_channels: u32,
  channel_quads: u32,
  splits: u32,
  accumulate: u32,
}
@group(1) @binding(0) var<uniform> total_params: TotalParams;

// Whether to add to what y holds: known when the kernel is compiled, as software adapters pay for
// the question.
override ACCUMULATE: bool = false;
const WORKGROUP_SIZE = 64u;
const FOUR = vec4u(0, 1, 2, 3);
// Products of a tile, 4 × 4, written out below.
const PLACES = 16u;
const SIDE = 2u;
const OWNED = 4u;

// A matrix here holds four places along one axis of a tile; its columns are quads.

fn weight_at(p: WeightParams, row: u32, column: vec4u, tap: u32) -> vec4f {
  let inside = column < vec4u(p.columns);
  let place = p.origin + select(tap, 8 - tap, p.reversed == 1);
  let first = row * p.row_step + place;
  let at = first + select(vec4u(), column * p.column_step, inside);
  return select(vec4f(), vec4f(weight[at.x], weight[at.y], weight[at.z], weight[at.w]), inside);
}

fn spread_taps(p: WeightParams, row: u32, column: vec4u, first: u32) -> mat4x4f {
  let a = weight_at(p, row, column, first);
  let b = weight_at(p, row, column, first + 1);
  let c = weight_at(p, row, column, first + 2);
  return mat4x4f(a, (a + b + c) * 0.5, (a - b + c) * 0.5, c);
}

// Quad i of each place of a weight.
fn transform_quad(p: WeightParams, i: u32) {
  let quads = (p.columns + 3) / 4;
  let count = p.rows * quads;
  if (i >= count) { return; }
  let row = i / quads;
  let column = i % quads * 4 + FOUR;
  let top = spread_taps(p, row, column, 0);
  let middle = spread_taps(p, row, column, 3);
  let bottom = spread_taps(p, row, column, 6);
  let at = p.first + i;
  store_weight(at, count, top);
  store_weight(at + 4 * count, count, (top + middle + bottom) * 0.5);
  store_weight(at + 8 * count, count, (top - middle + bottom) * 0.5);
  store_weight(at + 12 * count, count, bottom);
}

fn store_weight(at: u32, step: u32, values: mat4x4f) {
  u[at] = values[0];
  u[at + step] = values[1];
  u[at + 2 * step] = values[2];
  u[at + 3 * step] = values[3];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_weight(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  transform_quad(weight_params, id.y * groups.x * WORKGROUP_SIZE + id.x);
}

// Weight id.y of the table; the largest has as many quads as a row of the grid.
@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_weights(@builtin(global_invocation_id) id: vec3u) {
  transform_quad(table[id.y], id.x);
}

// Four tiles, or four channels of one: the plane of each, and its first output row and column
// there.
struct Tiles { plane: vec4u, row: vec4u, column: vec4u, real: vec4<bool> }

fn tiles_at(tile: vec4u, channel: vec4u, channels: u32) -> Tiles {
  let per_image = params.tile_rows * params.tile_columns;
  let image = params.first_image + tile / per_image;
  let row = tile % per_image / params.tile_columns;
  let column = tile % params.tile_columns;
  let d = params.dilation;
  return Tiles(
    (image * channels + channel) * (params.height * params.width),
    row / d * (2 * d) + row % d,
    column / d * (2 * d) + column % d,
    (tile < vec4u(params.images * per_image)) & (channel < vec4u(channels)),
  );
}

// Element i: channel i / tile_quads, quad of tiles i % tile_quads.
fn four_tiles(i: u32, channels: u32) -> Tiles {
  let tile = i % params.tile_quads * 4 + FOUR;
  return tiles_at(tile, vec4u(i / params.tile_quads), channels);
}

// Element i: quad of channels i / tiles, tile i % tiles, so that neighbours read neighbouring
// pixels.
fn four_channels(i: u32, channels: u32) -> Tiles {
  let tiles = params.tile_quads * 4;
  return tiles_at(vec4u(i % tiles), i / tiles * 4 + FOUR, channels);
}

fn load(row: vec4u, column: vec4u, inside_row: vec4<bool>) -> vec4f {
  let inside = inside_row & (column < vec4u(params.width));
  let at = select(vec4u(), row + column, inside);
  return select(vec4f(), vec4f(x[at.x], x[at.y], x[at.z], x[at.w]), inside);
}

// Row i of the 4 × 4 inputs.
fn load_row(tiles: Tiles, i: u32) -> mat4x4f {
  // A negative coordinate is a huge unsigned one.
  let row = tiles.row + i * params.dilation - u32(params.padding);
  let inside = tiles.real & (row < vec4u(params.height));
  let column = tiles.column - u32(params.padding);
  let at = tiles.plane + row * params.width;
  return mat4x4f(
    load(at, column, inside),
    load(at, column + params.dilation, inside),
    load(at, column + 2 * params.dilation, inside),
    load(at, column + 3 * params.dilation, inside),
  );
}

fn transform_tiles(tiles: Tiles, at: u32, step: u32) {
  let row0 = load_row(tiles, 0);
  let row1 = load_row(tiles, 1);
  let row2 = load_row(tiles, 2);
  let row3 = load_row(tiles, 3);
  store_input(at, step, row0 - row2);
  store_input(at + 4 * step, step, row1 + row2);
  store_input(at + 8 * step, step, row2 - row1);
  store_input(at + 12 * step, step, row1 - row3);
}

fn store_input(at: u32, step: u32, row: mat4x4f) {
  v[at] = row[0] - row[2];
  v[at + step] = row[1] + row[2];
  v[at + 2 * step] = row[2] - row[1];
  v[at + 3 * step] = row[1] - row[3];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_input(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let count = params.channels * params.tile_quads;
  if (i < count) { transform_tiles(four_tiles(i, params.channels), i, count); }
}

// Quad i of the inputs at each place.
fn transform_inputs(i: u32) {
  let tiles = params.tile_quads * 4;
  let count = tiles * params.channel_quads;
  if (i >= count) { return; }
  let at = i % tiles * params.channel_quads + i / tiles;
  transform_tiles(four_channels(i, params.channels), at, count);
}

fn load_gradient(row: vec4u, column: vec4u, inside_row: vec4<bool>) -> vec4f {
  let inside = inside_row & (column < vec4u(params.width));
  let at = select(vec4u(), row + column, inside);
  return select(vec4f(), vec4f(grad_y[at.x], grad_y[at.y], grad_y[at.z], grad_y[at.w]), inside);
}

// One row of the 2 × 2 outputs.
fn load_gradients(tiles: Tiles, below: u32) -> mat2x4f {
  let row = tiles.row + below;
  let inside = tiles.real & (row < vec4u(params.height));
  let at = tiles.plane + row * params.width;
  return mat2x4f(
    load_gradient(at, tiles.column, inside),
    load_gradient(at, tiles.column + params.dilation, inside),
  );
}

// Quad i of the gradients at each place.
fn transform_gradients(i: u32) {
  let tiles = params.tile_quads * 4;
  let count = tiles * params.out_channel_quads;
  if (i >= count) { return; }
  let four = four_channels(i, params.out_channels);
  let top = load_gradients(four, 0);
  let bottom = load_gradients(four, params.dilation);
  let at = i % tiles * params.out_channel_quads + i / tiles;
  store_gradients(at, count, top);
  store_gradients(at + 4 * count, count, top + bottom);
  store_gradients(at + 8 * count, count, top - bottom);
  store_gradients(at + 12 * count, count, -1.0 * bottom);
}

fn store_gradients(at: u32, step: u32, row: mat2x4f) {
  t[at] = row[0];
  t[at + step] = row[0] + row[1];
  t[at + 2 * step] = row[0] - row[1];
  t[at + 3 * step] = -row[1];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_inputs_by_tile(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  transform_inputs(id.y * groups.x * WORKGROUP_SIZE + id.x);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_gradients_by_tile(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  transform_gradients(id.y * groups.x * WORKGROUP_SIZE + id.x);
}

// The inputs, then the gradients.
@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_by_tile(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let inputs = params.tile_quads * 4 * params.channel_quads;
  if (i < inputs) { transform_inputs(i); } else { transform_gradients(i - inputs); }
}

fn load_products(at: u32, step: u32) -> mat4x4f {
  return mat4x4f(m[at], m[at + step], m[at + 2 * step], m[at + 3 * step]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_output(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let count = params.out_channels * params.tile_quads;
  if (i >= count) { return; }
  let row0 = load_products(i, count);
  let row1 = load_products(i + 4 * count, count);
  let row2 = load_products(i + 8 * count, count);
  let row3 = load_products(i + 12 * count, count);
  let tiles = four_tiles(i, params.out_channels);
  var start = vec4f();
  if (params.has_bias == 1) { start += bias[i / params.tile_quads]; }
  store_row(tiles, 0, row0 + row1 + row2, start);
  store_row(tiles, params.dilation, row1 - row2 - row3, start);
}

// Writes one row of the 2 × 2 outputs.
fn store_row(tiles: Tiles, below: u32, sums: mat4x4f, start: vec4f) {
  let row = tiles.row + below;
  let inside = tiles.real & (row < vec4u(params.height));
  let at = tiles.plane + row * params.width;
  store(at, tiles.column, inside, start + sums[0] + sums[1] + sums[2]);
  store(at, tiles.column + params.dilation, inside, start + sums[1] - sums[2] - sums[3]);
}

fn store(row: vec4u, column: vec4u, inside_row: vec4<bool>, values: vec4f) {
  let inside = inside_row & (column < vec4u(params.width));
  let at = row + column;
  var sums = values;
  // What lies outside is not stored.
  if (ACCUMULATE) { sums += vec4f(y[at.x], y[at.y], y[at.z], y[at.w]); }
  if (inside.x) { y[at.x] = sums.x; }
  if (inside.y) { y[at.y] = sums.y; }
  if (inside.z) { y[at.z] = sums.z; }
  if (inside.w) { y[at.w] = sums.w; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn total_weight(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let count = total_params.out_channels * total_params.channel_quads;
  if (i >= count) { return; }
  let row0 = total_row(i, count);
  let row1 = total_row(i + 4 * total_params.splits * count, count);
  let row2 = total_row(i + 8 * total_params.splits * count, count);
  let row3 = total_row(i + 12 * total_params.splits * count, count);
  let middle = (row1 + row2) * 0.5;
  let channel = i % total_params.channel_quads * 4;
  let first = (i / total_params.channel_quads * total_params.channels + channel) * 9;
  store_taps(first, channel, row0 + middle);
  store_taps(first + 3, channel, (row1 - row2) * 0.5);
  store_taps(first + 6, channel, middle + row3);
}

// The sums over all splits at four places.
fn total_row(first: u32, step: u32) -> mat4x4f {
  var sum = mat4x4f();
  for (var split = 0u; split < total_params.splits; split++) {
    sum += load_products(first + split * step, total_params.splits * step);
  }
  return sum;
}

// Writes one row of the 3 × 3 taps of four channels.
fn store_taps(first: u32, channel: u32, row: mat4x4f) {
  let middle = (row[1] + row[2]) * 0.5;
  store_tap(first, channel, row[0] + middle);
  store_tap(first + 1, channel, (row[1] - row[2]) * 0.5);
  store_tap(first + 2, channel, middle + row[3]);
}

fn store_tap(first: u32, channel: u32, values: vec4f) {
  for (var e = 0u; e < min(4, max(channel, total_params.channels) - channel); e++) {
    let at = first + e * 9;
    if (total_params.accumulate == 1) { grad_weight[at] += values[e]; } else { grad_weight[at] = values[e]; }
  }
}
