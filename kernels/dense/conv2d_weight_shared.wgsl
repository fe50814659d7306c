// Gradients of a convolution to its weight and bias for GPUs: the formulas of conv2d_weight.wgsl,
// from images as they are. The weight gradient is a matrix product of two tall matrices whose long
// sum is split, so that a second pass adds the parts.
//
//   parts[s][o][u,v,c] = Σ_{k in split s} grad_output[n][o][i][j]
//     x[n][c][i stride - padding + u dilation][j stride - padding + v dilation]
//   grad_weight[o][c][u][v] = Σ_s parts[s][o][u,v,c]
//   grad_bias[o] = Σ_k grad_output[n][o][i][j]
//
// where k = (n, i, j) counts the positions of grad_output over all images, in order.
// x: [N, in_channels, in_height, in_width]; grad_output: [N, out_channels, out_height, out_width].
// A column of parts, [splits, O, columns], is a tap and a quad of input channels; the channels that
// the last quad of a tap lacks hold any number.
//
// accumulate_products: a workgroup owns LEFT_QUADS quads of output channels × RIGHT_QUADS columns
// of one split, and overwrites them; tiles count output channels first, then columns, then splits.
// An invocation copies one of DEPTH neighbouring positions, of a quad of channels in each pass, so
// that DEPTH neighbours read a run of each plane. The rest is as in matmul_shared.wgsl, which has
// the reasons.
// total: an invocation of the first weight_groups workgroups owns a column of one output channel of
// the weight, whose parts are all_parts, and each workgroup behind them a channel of the bias. Both
// gradients lie in `gradients`; they are overwritten, or added to where `accumulate` is 1.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<vec4f>;
@group(0) @binding(3) var<storage, read> all_parts: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> gradients: array<f32>;

struct Params {
  positions: u32,
  in_channels: u32,
  in_height: u32,
  in_width: u32,
  out_channels: u32,
  out_height: u32,
  out_width: u32,
  tap_columns: u32,
  columns: u32,
  stride: u32,
  padding: u32,
  dilation: u32,
  terms_per_split: u32,
  first_tile: u32,
  end_tile: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

struct TotalParams {
  in_channels: u32,
  out_channels: u32,
  taps: u32,
  splits: u32,
  weight_groups: u32,
  weight_start: u32,
  images: u32,
  plane: u32,
  bias_channels: u32,
  bias_start: u32,
  accumulate: u32,
}
@group(1) @binding(0) var<uniform> total_params: TotalParams;

const DEPTH = 8u;
override THREAD_ROWS = 8u;
override THREAD_COLUMNS = 8u;
override ROW_QUADS = 2u;
override THREADS = THREAD_ROWS * THREAD_COLUMNS;
override LEFT_QUADS = THREAD_ROWS * ROW_QUADS;
override RIGHT_QUADS = THREAD_COLUMNS * 2u;
override PASS_QUADS = THREADS / DEPTH;

var<workgroup> left_tile: array<array<vec4f, DEPTH + 1>, LEFT_QUADS>;
var<workgroup> right_tile: array<array<vec4f, DEPTH + 1>, RIGHT_QUADS>;

// A position k: what a tap without offset reads there, in pixels, and where channel 0 of its image
// has both it and the gradient. Moved without a division, as it is at every step of the sum.
struct Position { k: u32, row: u32, column: u32, of_x: u32, of_gradient: u32 }

fn position_at(k: u32) -> Position {
  let out_plane = params.out_height * params.out_width;
  let image = k / out_plane;
  let within = k % out_plane;
  let row = within / params.out_width * params.stride;
  let column = within % params.out_width * params.stride;
  return Position(
    k,
    row,
    column,
    (image * params.in_channels * params.in_height + row) * params.in_width + column,
    image * params.out_channels * out_plane + within,
  );
}

// What DEPTH positions further means: the step itself, and more at the end of a row or an image.
struct Steps { step: Position, end_column: u32, end_row: u32, of_row: u32, of_image: vec2u }

fn steps() -> Steps {
  let row_length = params.out_width * params.stride;
  let rows_height = params.out_height * params.stride;
  let in_image = params.in_channels * params.in_height * params.in_width;
  return Steps(
    position_at(DEPTH),
    row_length,
    rows_height,
    params.stride * params.in_width - row_length,
    vec2u(
      in_image - rows_height * params.in_width,
      (params.out_channels - 1) * params.out_height * params.out_width,
    ),
  );
}

fn advance(position: ptr<function, Position>, by: Steps) {
  let p = *position;
  let column = p.column + by.step.column;
  let next_row = column >= by.end_column;
  let row = p.row + by.step.row + select(0u, params.stride, next_row);
  let next_image = row >= by.end_row;
  let of_image = select(vec2u(), by.of_image, next_image);
  *position = Position(
    p.k + DEPTH,
    row - select(0u, by.end_row, next_image),
    column - select(0u, by.end_column, next_row),
    p.of_x + by.step.of_x + select(0u, by.of_row, next_row) + of_image.x,
    p.of_gradient + by.step.of_gradient + of_image.y,
  );
}

// Where a tap reads a quad of channels, relative to the position. What is above or left of it is a
// huge number, to which adding wraps.
struct Tap { top: u32, left: u32, index: u32 }

fn tap_of(column: u32) -> Tap {
  let in_quads = (params.in_channels + 3) / 4;
  let tap = column / in_quads;
  let top = tap / params.tap_columns * params.dilation - params.padding;
  let left = tap % params.tap_columns * params.dilation - params.padding;
  let channel = column % in_quads * 4;
  return Tap(top, left, (channel * params.in_height + top) * params.in_width + left);
}

fn is_inside(position: Position, tap: Tap) -> bool {
  return position.row + tap.top < params.in_height && position.column + tap.left < params.in_width;
}

// Four channels of one position. Past the last channel these are other numbers, which do not mix
// with those of other channels and are not used.
fn x_at(at: u32) -> vec4f {
  let plane = params.in_height * params.in_width;
  return vec4f(x[at], x[at + plane], x[at + 2 * plane], x[at + 3 * plane]);
}

fn gradient_at(at: u32) -> vec4f {
  let plane = params.out_height * params.out_width;
  return vec4f(
    grad_output[at],
    grad_output[at + plane],
    grad_output[at + 2 * plane],
    grad_output[at + 3 * plane],
  );
}

// What was loaded, or zeros. Asked only on the way to workgroup memory: a branch around the load
// makes drivers wait for it before the products, not after.
fn kept(value: vec4f, keep: bool) -> vec4f { return select(vec4f(), value, keep); }

struct Sums { c00: mat4x4f, c01: mat4x4f, c10: mat4x4f, c11: mat4x4f }

// Column i of the result is x y[i].
fn outer(x: vec4f, y: vec4f) -> mat4x4f {
  return mat4x4f(x * y.x, x * y.y, x * y.z, x * y.w);
}

fn add_products(sums: ptr<function, Sums>, row: u32, column: u32, k: u32) {
  let r0 = right_tile[column][k];
  let r1 = right_tile[column + THREAD_COLUMNS][k];
  let l0 = left_tile[row][k];
  (*sums).c00 += outer(r0, l0);
  (*sums).c01 += outer(r1, l0);
  if (ROW_QUADS == 2) {
    let l1 = left_tile[row + THREAD_ROWS][k];
    (*sums).c10 += outer(r0, l1);
    (*sums).c11 += outer(r1, l1);
  }
}

fn store(split: u32, channel: u32, column: u32, x0: vec4f, x1: vec4f) {
  if (channel >= params.out_channels) { return; }
  let first = (split * params.out_channels + channel) * params.columns;
  if (column < params.columns) { parts[first + column] = x0; }
  let next = column + THREAD_COLUMNS;
  if (next < params.columns) { parts[first + next] = x1; }
}

@compute @workgroup_size(THREADS)
fn accumulate_products(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = params.first_tile + group.y * groups.x + group.x;
  if (tile >= params.end_tile) { return; }
  let out_quads = (params.out_channels + 3) / 4;
  let channel_tiles = (out_quads + LEFT_QUADS - 1) / LEFT_QUADS;
  let column_tiles = (params.columns + RIGHT_QUADS - 1) / RIGHT_QUADS;
  let first_quad = tile % channel_tiles * LEFT_QUADS;
  let first_column = tile / channel_tiles % column_tiles * RIGHT_QUADS;
  let split = tile / (channel_tiles * column_tiles);
  let first_k = split * params.terms_per_split;
  let end_k = min(first_k + params.terms_per_split, params.positions);

  // What this invocation copies. Past the end, the last quad is multiplied again and not stored.
  let term = lane % DEPTH;
  let left_quad = lane / DEPTH % LEFT_QUADS;
  let right_quad = lane / DEPTH % RIGHT_QUADS;
  let out_plane = params.out_height * params.out_width;
  let left0 = min(first_quad + left_quad, out_quads - 1) * 4 * out_plane;
  let left1 = min(first_quad + left_quad + PASS_QUADS, out_quads - 1) * 4 * out_plane;
  let tap0 = tap_of(min(first_column + right_quad, params.columns - 1));
  let tap1 = tap_of(min(first_column + right_quad + PASS_QUADS, params.columns - 1));
  let by = steps();
  var position = position_at(first_k + term);
  var r0 = x_at(position.of_x + tap0.index);
  var l0 = gradient_at(position.of_gradient + left0);
  var r1: vec4f;
  var l1: vec4f;
  if (PASS_QUADS < RIGHT_QUADS) { r1 = x_at(position.of_x + tap1.index); }
  if (PASS_QUADS < LEFT_QUADS) { l1 = gradient_at(position.of_gradient + left1); }

  let block = lane / 32;
  let row = block / (THREAD_COLUMNS / 8) * 4 + lane % 32 / 8;
  let column = block % (THREAD_COLUMNS / 8) * 8 + lane % 8;
  var sums: Sums;
  for (var k = first_k; k < end_k; k += DEPTH) {
    let exists = position.k < end_k;
    workgroupBarrier();
    left_tile[left_quad][term] = kept(l0, exists);
    right_tile[right_quad][term] = kept(r0, exists && is_inside(position, tap0));
    if (PASS_QUADS < LEFT_QUADS) { left_tile[left_quad + PASS_QUADS][term] = kept(l1, exists); }
    if (PASS_QUADS < RIGHT_QUADS) {
      right_tile[right_quad + PASS_QUADS][term] = kept(r1, exists && is_inside(position, tap1));
    }
    workgroupBarrier();
    advance(&position, by);
    r0 = x_at(position.of_x + tap0.index);
    l0 = gradient_at(position.of_gradient + left0);
    if (PASS_QUADS < RIGHT_QUADS) { r1 = x_at(position.of_x + tap1.index); }
    if (PASS_QUADS < LEFT_QUADS) { l1 = gradient_at(position.of_gradient + left1); }
    add_products(&sums, row, column, 0);
    add_products(&sums, row, column, 1);
    add_products(&sums, row, column, 2);
    add_products(&sums, row, column, 3);
    add_products(&sums, row, column, 4);
    add_products(&sums, row, column, 5);
    add_products(&sums, row, column, 6);
    add_products(&sums, row, column, 7);
  }

  let first = (first_quad + row) * 4;
  let at = first_column + column;
  store(split, first, at, sums.c00[0], sums.c01[0]);
  store(split, first + 1, at, sums.c00[1], sums.c01[1]);
  store(split, first + 2, at, sums.c00[2], sums.c01[2]);
  store(split, first + 3, at, sums.c00[3], sums.c01[3]);
  if (ROW_QUADS == 2) {
    let second = first + THREAD_ROWS * 4;
    store(split, second, at, sums.c10[0], sums.c11[0]);
    store(split, second + 1, at, sums.c10[1], sums.c11[1]);
    store(split, second + 2, at, sums.c10[2], sums.c11[2]);
    store(split, second + 3, at, sums.c10[3], sums.c11[3]);
  }
}

const TOTAL_THREADS = 256u;
var<workgroup> bias_sums: array<f32, TOTAL_THREADS>;

fn store_gradient(at: u32, value: f32) {
  if (total_params.accumulate == 1) { gradients[at] += value; } else { gradients[at] = value; }
}

fn total_weight(i: u32) {
  let in_quads = (total_params.in_channels + 3) / 4;
  let columns = total_params.taps * in_quads;
  let count = total_params.out_channels * columns;
  if (i >= count) { return; }
  var sum = vec4f();
  // Four at a time, as drivers wait for the loads of every round.
  var next = i;
  let end = total_params.splits * count;
  for (; next + 3 * count < end; next += 4 * count) {
    let p0 = all_parts[next];
    let p1 = all_parts[next + count];
    let p2 = all_parts[next + 2 * count];
    let p3 = all_parts[next + 3 * count];
    sum += p0;
    sum += p1;
    sum += p2;
    sum += p3;
  }
  for (; next < end; next += count) { sum += all_parts[next]; }
  let channel = i % in_quads * 4;
  let first = (i / columns * total_params.in_channels + channel) * total_params.taps +
    i % columns / in_quads;
  for (var e = 0u; e < min(4, total_params.in_channels - channel); e++) {
    store_gradient(total_params.weight_start + first + e * total_params.taps, sum[e]);
  }
}

fn total_bias(channel: u32, lane: u32) {
  let plane = total_params.plane;
  let count = total_params.images * plane;
  let image_step = (total_params.bias_channels - 1) * plane;
  var sums = vec4f();
  for (var k = lane; k < count; k += TOTAL_THREADS * 4) {
    let four = k + TOTAL_THREADS * vec4u(0, 1, 2, 3);
    let at = channel * plane + four + four / plane * image_step;
    let values = vec4f(grad_output[at.x], grad_output[at.y], grad_output[at.z], grad_output[at.w]);
    sums += select(vec4f(), values, four < vec4u(count));
  }
  bias_sums[lane] = (sums.x + sums.y) + (sums.z + sums.w);
  for (var half = TOTAL_THREADS / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { bias_sums[lane] += bias_sums[lane + half]; }
  }
  if (lane == 0) { store_gradient(total_params.bias_start + channel, bias_sums[0]); }
}

@compute @workgroup_size(TOTAL_THREADS)
fn total(
  @builtin(workgroup_id) group_id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = group_id.y * groups.x + group_id.x;
  if (group < total_params.weight_groups) {
    total_weight(group * TOTAL_THREADS + lane);
  } else if (group < total_params.weight_groups + total_params.bias_channels) {
    total_bias(group - total_params.weight_groups, lane);
  }
}
