// Convolution with 3 × 3 taps by Winograd's F(4 × 4, 3 × 3), for GPUs: tiles of 4 × 4 outputs from
// 6 × 6 inputs by 36 products instead of 144. The same entry points, arrays and parameters as
// winograd.wgsl, whose head comment has the formulas:
//
//   transform_weight:        u = G w Gᵀ                             [36, row, column]
//   transform_weights:       the same of all weights in `table`
//   transform_input:         v = Bᵀ x_tile B                        [36, channel, tile]
//   transform_output:        y = Aᵀ m A (+ bias), overwritten or, by ACCUMULATE, added to
//   transform_by_tile:       v = Bᵀ x_tile B                        [36, tile, channel]
//                            t = A grad_y_tile Aᵀ                   [36, tile, out channel]
//   total_weight:            grad_w = Gᵀ (Σ_split m) G, overwritten or, by `accumulate`, added to
//
// A tile of outputs is a product of polynomials, taken at the points 0, ±P, ±Q and ∞. P = 3/4 and Q
// = 3/2 are exact in binary, and close enough to 1 that errors are half of those of ±1 and ±2: for
// each output, a matrix has P^i, and Bᵀ the coefficients of products over the other points.
//
// The last axis of u, v, m and t is padded with zeros to quads, tiles to `tile_quads` quads. An
// invocation owns one element of it at all 36 places, the 4 × 4 outputs of one tile in one channel,
// or the taps of one pair of channels; all but transform_output and total_weight overwrite.
// Neighbouring invocations take neighbouring tiles, which read and write neighbouring pixels.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> v: array<f32>;
@group(0) @binding(2) var<storage, read> m: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> u: array<f32>;
@group(0) @binding(7) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(9) var<storage, read> grad_y: array<f32>;
@group(0) @binding(10) var<storage, read_write> t: array<f32>;

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
// Products of a tile, 6 × 6, written out below.
const PLACES = 36u;
const SIDE = 4u;
const OWNED = 1u;

// The points, their squares PP and QQ, and what the taps are divided by at 0, at ±P and at ±Q: the
// product of the distances to all other points.
const P = 0.75;
const Q = 1.5;
const PP = P * P;
const QQ = Q * Q;
const AT_0 = 1.0 / (PP * QQ);
const AT_P = 0.5 / (PP * (PP - QQ));
const AT_Q = 0.5 / (QQ * (QQ - PP));

// Six places along one axis: columns of a matrix are 0, P, −P and Q, −Q, ∞. What is done along the
// other axis is done to whole matrices.

fn six(at_0: f32, even: vec2f, odd: vec2f, at_infinity: f32) -> mat2x3f {
  return mat2x3f(
    vec3f(at_0, even.x + odd.x, even.x - odd.x),
    vec3f(even.y + odd.y, even.y - odd.y, at_infinity),
  );
}

// G: three taps at six places.
fn spread_taps(a: f32, b: f32, c: f32) -> mat2x3f {
  let even = vec2f(AT_P, AT_Q) * (a + vec2f(PP, QQ) * c);
  let odd = vec2f(P * AT_P, Q * AT_Q) * b;
  return six(AT_0 * a, even, odd, c);
}

// Bᵀ: six inputs at six places.
fn spread_inputs(x: mat2x3f) -> mat2x3f {
  let even = x[1].y - vec2f(QQ, PP) * x[0].z;
  let odd = vec2f(P, Q) * (x[1].x - vec2f(QQ, PP) * x[0].y);
  return six(
    PP * QQ * x[0].x - (PP + QQ) * x[0].z + x[1].y,
    even,
    odd,
    PP * QQ * x[0].y - (PP + QQ) * x[1].x + x[1].z,
  );
}

// A: four outputs at six places.
fn spread_outputs(y: vec4f) -> mat2x3f {
  let even = y.x + vec2f(PP, QQ) * y.z;
  let odd = vec2f(P, Q) * (y.y + vec2f(PP, QQ) * y.w);
  return six(y.x, even, odd, y.w);
}

// Aᵀ: four outputs from six places.
fn gather_outputs(m: mat2x3f) -> vec4f {
  let even = vec2f(m[0].y + m[0].z, m[1].x + m[1].y);
  let odd = vec2f(m[0].y - m[0].z, m[1].x - m[1].y);
  return vec4f(
    m[0].x + even.x + even.y,
    P * odd.x + Q * odd.y,
    PP * even.x + QQ * even.y,
    P * PP * odd.x + Q * QQ * odd.y + m[1].z,
  );
}

// Gᵀ: three taps from six places.
fn gather_taps(m: mat2x3f) -> vec3f {
  let even = vec2f(AT_P, AT_Q) * vec2f(m[0].y + m[0].z, m[1].x + m[1].y);
  let odd = vec2f(P * AT_P, Q * AT_Q) * vec2f(m[0].y - m[0].z, m[1].x - m[1].y);
  return vec3f(
    AT_0 * m[0].x + even.x + even.y,
    odd.x + odd.y,
    PP * even.x + QQ * even.y + m[1].z,
  );
}

fn weight_at(p: WeightParams, row: u32, column: u32, tap: u32) -> f32 {
  let place = p.origin + select(tap, 8 - tap, p.reversed == 1);
  let inside = column < p.columns;
  let at = row * p.row_step + column * p.column_step + place;
  return select(0.0, weight[select(0, at, inside)], inside);
}

fn weight_row(p: WeightParams, row: u32, column: u32, first: u32) -> mat2x3f {
  return spread_taps(
    weight_at(p, row, column, first),
    weight_at(p, row, column, first + 1),
    weight_at(p, row, column, first + 2),
  );
}

// Element i of each place of a weight.
fn transform_element(p: WeightParams, i: u32) {
  let columns = (p.columns + 3) / 4 * 4;
  let count = p.rows * columns;
  if (i >= count) { return; }
  let top = weight_row(p, i / columns, i % columns, 0);
  let middle = weight_row(p, i / columns, i % columns, 3);
  let bottom = weight_row(p, i / columns, i % columns, 6);
  let even_p = AT_P * (top + PP * bottom);
  let even_q = AT_Q * (top + QQ * bottom);
  let odd_p = P * AT_P * middle;
  let odd_q = Q * AT_Q * middle;
  let at = p.first + i;
  store_weight(at, count, AT_0 * top);
  store_weight(at + 6 * count, count, even_p + odd_p);
  store_weight(at + 12 * count, count, even_p - odd_p);
  store_weight(at + 18 * count, count, even_q + odd_q);
  store_weight(at + 24 * count, count, even_q - odd_q);
  store_weight(at + 30 * count, count, bottom);
}

fn store_weight(at: u32, step: u32, row: mat2x3f) {
  u[at] = row[0].x;
  u[at + step] = row[0].y;
  u[at + 2 * step] = row[0].z;
  u[at + 3 * step] = row[1].x;
  u[at + 4 * step] = row[1].y;
  u[at + 5 * step] = row[1].z;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_weight(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  transform_element(weight_params, id.y * groups.x * WORKGROUP_SIZE + id.x);
}

// Weight id.y of the table; the largest has as many elements as a row of the grid.
@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_weights(@builtin(global_invocation_id) id: vec3u) {
  transform_element(table[id.y], id.x);
}

// A tile in one channel: the plane, and the first output row and column there.
struct Tile { plane: u32, row: u32, column: u32, real: bool }

fn tile_at(tile: u32, channel: u32, channels: u32) -> Tile {
  let per_image = params.tile_rows * params.tile_columns;
  let image = params.first_image + tile / per_image;
  let row = tile % per_image / params.tile_columns;
  let column = tile % params.tile_columns;
  let d = params.dilation;
  return Tile(
    (image * channels + channel) * (params.height * params.width),
    row / d * (SIDE * d) + row % d,
    column / d * (SIDE * d) + column % d,
    tile < params.images * per_image && channel < channels,
  );
}

fn load(row: u32, column: u32, inside_row: bool) -> f32 {
  let inside = inside_row && column < params.width;
  return select(0.0, x[select(0, row + column, inside)], inside);
}

// Row i of the 6 × 6 inputs.
fn load_row(tile: Tile, i: u32) -> mat2x3f {
  // A negative coordinate is a huge unsigned one.
  let row = tile.row + i * params.dilation - u32(params.padding);
  let inside = tile.real && row < params.height;
  let column = tile.column - u32(params.padding);
  let at = tile.plane + row * params.width;
  let d = params.dilation;
  return mat2x3f(
    load(at, column, inside),
    load(at, column + d, inside),
    load(at, column + 2 * d, inside),
    load(at, column + 3 * d, inside),
    load(at, column + 4 * d, inside),
    load(at, column + 5 * d, inside),
  );
}

fn transform_tile(tile: Tile, at: u32, step: u32) {
  let row0 = load_row(tile, 0);
  let row1 = load_row(tile, 1);
  let row2 = load_row(tile, 2);
  let row3 = load_row(tile, 3);
  let row4 = load_row(tile, 4);
  let row5 = load_row(tile, 5);
  let even_p = row4 - QQ * row2;
  let even_q = row4 - PP * row2;
  let odd_p = P * (row3 - QQ * row1);
  let odd_q = Q * (row3 - PP * row1);
  store_row(at, step, spread_inputs(PP * QQ * row0 - (PP + QQ) * row2 + row4));
  store_row(at + 6 * step, step, spread_inputs(even_p + odd_p));
  store_row(at + 12 * step, step, spread_inputs(even_p - odd_p));
  store_row(at + 18 * step, step, spread_inputs(even_q + odd_q));
  store_row(at + 24 * step, step, spread_inputs(even_q - odd_q));
  store_row(at + 30 * step, step, spread_inputs(PP * QQ * row1 - (PP + QQ) * row3 + row5));
}

fn store_row(at: u32, step: u32, row: mat2x3f) {
  v[at] = row[0].x;
  v[at + step] = row[0].y;
  v[at + 2 * step] = row[0].z;
  v[at + 3 * step] = row[1].x;
  v[at + 4 * step] = row[1].y;
  v[at + 5 * step] = row[1].z;
}

// Element i: channel i / tiles, tile i % tiles.
@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_input(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let tiles = params.tile_quads * 4;
  let count = params.channels * tiles;
  if (i < count) { transform_tile(tile_at(i % tiles, i / tiles, params.channels), i, count); }
}

// A tile and a channel of the arrays by tile, v and t. Sixteen neighbouring invocations take four
// tiles in four channels, so that they both read and write neighbours.
struct Pair { tile: u32, channel: u32 }

fn pair_at(i: u32, channel_quads: u32) -> Pair {
  let block = i / 16;
  return Pair(block / channel_quads * 4 + i % 4, block % channel_quads * 4 + i % 16 / 4);
}

// Element i of the inputs at each place.
fn transform_inputs(i: u32) {
  let channels = params.channel_quads * 4;
  let pair = pair_at(i, params.channel_quads);
  let tile = tile_at(pair.tile, pair.channel, params.channels);
  transform_tile(tile, pair.tile * channels + pair.channel, params.tile_quads * 4 * channels);
}

fn load_gradient(row: u32, column: u32, inside_row: bool) -> f32 {
  let inside = inside_row && column < params.width;
  return select(0.0, grad_y[select(0, row + column, inside)], inside);
}

// One row of the 4 × 4 gradients.
fn load_gradients(tile: Tile, i: u32) -> mat2x3f {
  let row = tile.row + i * params.dilation;
  let inside = tile.real && row < params.height;
  let at = tile.plane + row * params.width;
  let d = params.dilation;
  return spread_outputs(vec4f(
    load_gradient(at, tile.column, inside),
    load_gradient(at, tile.column + d, inside),
    load_gradient(at, tile.column + 2 * d, inside),
    load_gradient(at, tile.column + 3 * d, inside),
  ));
}

// Element i of the gradients at each place.
fn transform_gradients(i: u32) {
  let channels = params.out_channel_quads * 4;
  let count = params.tile_quads * 4 * channels;
  if (i >= count) { return; }
  let pair = pair_at(i, params.out_channel_quads);
  let tile = tile_at(pair.tile, pair.channel, params.out_channels);
  let row0 = load_gradients(tile, 0);
  let row1 = load_gradients(tile, 1);
  let row2 = load_gradients(tile, 2);
  let row3 = load_gradients(tile, 3);
  let even_p = row0 + PP * row2;
  let even_q = row0 + QQ * row2;
  let odd_p = P * (row1 + PP * row3);
  let odd_q = Q * (row1 + QQ * row3);
  let at = pair.tile * channels + pair.channel;
  store_gradients(at, count, row0);
  store_gradients(at + 6 * count, count, even_p + odd_p);
  store_gradients(at + 12 * count, count, even_p - odd_p);
  store_gradients(at + 18 * count, count, even_q + odd_q);
  store_gradients(at + 24 * count, count, even_q - odd_q);
  store_gradients(at + 30 * count, count, row3);
}

fn store_gradients(at: u32, step: u32, row: mat2x3f) {
  t[at] = row[0].x;
  t[at + step] = row[0].y;
  t[at + 2 * step] = row[0].z;
  t[at + 3 * step] = row[1].x;
  t[at + 4 * step] = row[1].y;
  t[at + 5 * step] = row[1].z;
}

// The inputs, then the gradients.
@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_by_tile(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let inputs = params.tile_quads * 4 * params.channel_quads * 4;
  if (i < inputs) { transform_inputs(i); } else { transform_gradients(i - inputs); }
}

fn load_products(at: u32, step: u32) -> mat2x3f {
  return mat2x3f(
    m[at],
    m[at + step],
    m[at + 2 * step],
    m[at + 3 * step],
    m[at + 4 * step],
    m[at + 5 * step],
  );
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn transform_output(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let tiles = params.tile_quads * 4;
  let count = params.out_channels * tiles;
  if (i >= count) { return; }
  let tile = tile_at(i % tiles, i / tiles, params.out_channels);
  if (!tile.real) { return; }
  let row0 = load_products(i, count);
  let row1 = load_products(i + 6 * count, count);
  let row2 = load_products(i + 12 * count, count);
  let row3 = load_products(i + 18 * count, count);
  let row4 = load_products(i + 24 * count, count);
  let row5 = load_products(i + 30 * count, count);
  let even_p = row1 + row2;
  let even_q = row3 + row4;
  let odd_p = row1 - row2;
  let odd_q = row3 - row4;
  var start = 0.0;
  if (params.has_bias == 1) { start = bias[i / tiles]; }
  let row = vec4f(start);
  var before = mat4x4f(row, row, row, row);
  if (ACCUMULATE) { before += held_outputs(tile); }
  store_outputs(tile, 0, before[0] + gather_outputs(row0 + even_p + even_q));
  store_outputs(tile, 1, before[1] + gather_outputs(P * odd_p + Q * odd_q));
  store_outputs(tile, 2, before[2] + gather_outputs(PP * even_p + QQ * even_q));
  store_outputs(tile, 3, before[3] + gather_outputs(P * PP * odd_p + Q * QQ * odd_q + row5));
}

// The 4 × 4 outputs as they are; what lies outside is not stored.
fn held_outputs(tile: Tile) -> mat4x4f {
  let step = params.dilation;
  let at = tile.plane + tile.row * params.width + tile.column + step * vec4u(0, 1, 2, 3);
  let below = step * params.width;
  return mat4x4f(y_at(at), y_at(at + below), y_at(at + 2 * below), y_at(at + 3 * below));
}

fn y_at(i: vec4u) -> vec4f { return vec4f(y[i.x], y[i.y], y[i.z], y[i.w]); }

// Writes row i of the 4 × 4 outputs.
fn store_outputs(tile: Tile, i: u32, values: vec4f) {
  let row = tile.row + i * params.dilation;
  if (row >= params.height) { return; }
  let at = tile.plane + row * params.width;
  let column = tile.column + params.dilation * vec4u(0, 1, 2, 3);
  if (column.x < params.width) { y[at + column.x] = values.x; }
  if (column.y < params.width) { y[at + column.y] = values.y; }
  if (column.z < params.width) { y[at + column.z] = values.z; }
  if (column.w < params.width) { y[at + column.w] = values.w; }
}

// Element i: output channel i / channels, input channel i % channels, with padding.
@compute @workgroup_size(WORKGROUP_SIZE)
fn total_weight(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let channels = total_params.channel_quads * 4;
  let count = total_params.out_channels * channels;
  let channel = i % channels;
  if (i >= count || channel >= total_params.channels) { return; }
  let step = 6 * total_params.splits * count;
  let row0 = total_row(i, count);
  let row1 = total_row(i + step, count);
  let row2 = total_row(i + 2 * step, count);
  let row3 = total_row(i + 3 * step, count);
  let row4 = total_row(i + 4 * step, count);
  let row5 = total_row(i + 5 * step, count);
  let even_p = AT_P * (row1 + row2);
  let even_q = AT_Q * (row3 + row4);
  let first = (i / channels * total_params.channels + channel) * 9;
  store_taps(first, gather_taps(AT_0 * row0 + even_p + even_q));
  store_taps(first + 3, gather_taps(P * AT_P * (row1 - row2) + Q * AT_Q * (row3 - row4)));
  store_taps(first + 6, gather_taps(PP * even_p + QQ * even_q + row5));
}

// The sums over all splits at six places.
fn total_row(first: u32, step: u32) -> mat2x3f {
  var sum = mat2x3f();
  for (var split = 0u; split < total_params.splits; split++) {
    sum += load_products(first + split * step, total_params.splits * step);
  }
  return sum;
}

// Writes one row of the 3 × 3 taps.
fn store_taps(at: u32, row: vec3f) {
  var taps = row;
  if (total_params.accumulate == 1) {
    taps += vec3f(grad_weight[at], grad_weight[at + 1], grad_weight[at + 2]);
  }
  grad_weight[at] = taps.x;
  grad_weight[at + 1] = taps.y;
  grad_weight[at + 2] = taps.z;
}
