// Gradients of a convolution to its weight and bias, in two passes of fixed order.
//
//   grad_weight[o][c][u][v] = Σ_{n,i,j} grad_output[n][o][i][j]
//     x[n][c][i stride - padding + u dilation][j stride - padding + v dilation]
//   grad_bias[o] = Σ_{n,i,j} grad_output[n][o][i][j]
//
// Both operands come pixel-major, as quads of neighbouring channels padded with zeros:
// x: [N, in_height, in_width, in_quads]; grad_output: [N, out_height, out_width, out_quads].
// A column of the gradient is a tap and a quad of input channels, columns = taps · in_quads.
// First pass: an invocation owns CHANNELS output channels × COLUMNS of one split, a run of
// neighbouring output rows of all images, and overwrites parts[split][o][column].
// Second pass: an invocation owns one column of one output channel; it overwrites grad_weight, or
// adds to it where `accumulate` is 1. See matmul.wgsl for the reasons of this shape.
// The bias likewise: first parts[run][quad] over runs of neighbouring positions, then grad_bias.

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> grad_output: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> parts: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_bias: array<f32>;

struct Params {
  images: u32,
  in_height: u32,
  in_width: u32,
  in_quads: u32,
  out_channels: u32,
  out_height: u32,
  out_width: u32,
  tap_columns: u32,
  columns: u32,
  stride: i32,
  padding: i32,
  dilation: i32,
  splits: u32,
  rows_per_split: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

struct TotalParams {
  in_channels: u32,
  in_quads: u32,
  out_channels: u32,
  taps: u32,
  splits: u32,
  accumulate: u32,
}
@group(1) @binding(0) var<uniform> total_params: TotalParams;

struct BiasParams {
  channels: u32,
  positions: u32,
  run: u32,
  runs: u32,
  accumulate: u32,
}
@group(1) @binding(0) var<uniform> bias_params: BiasParams;

const LANES = 8u;
const WORKGROUP_SIZE = 64u;
// What an invocation of the first pass owns, written out there.
const CHANNELS = 16u;
const COLUMNS = 4u;

fn outer(x: vec4f, y: vec4f) -> mat4x4f {
  return mat4x4f(x * y.x, x * y.y, x * y.z, x * y.w);
}

@compute @workgroup_size(LANES)
fn accumulate_products(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let id = (group.y * groups.x + group.x) * LANES + lane;
  let out_quads = (params.out_channels + 3) / 4;
  let out_tiles = (params.out_channels + CHANNELS - 1) / CHANNELS;
  let column_tiles = (params.columns + COLUMNS - 1) / COLUMNS;
  let split = id / (out_tiles * column_tiles);
  if (split >= params.splits) { return; }
  let first_channel = id % out_tiles * CHANNELS;
  let first_column = id / out_tiles % column_tiles * COLUMNS;
  // Past the end the last quad or column is computed again.
  let out_quad = min(first_channel / 4 + vec4u(0, 1, 2, 3), vec4u(out_quads - 1));
  let column = min(first_column + vec4u(0, 1, 2, 3), vec4u(params.columns - 1));
  let tap = column / params.in_quads;
  let top = vec4i(tap / params.tap_columns) * params.dilation - params.padding;
  let left = vec4i(tap % params.tap_columns) * params.dilation - params.padding;
  let width = i32(params.in_width);
  // The output columns at which any of the four taps lies inside the image.
  let start = max(-left + (params.stride - 1), vec4i()) / params.stride;
  let end = (max(width - 1 - left, vec4i(-params.stride)) + params.stride) / params.stride;
  let from_j = u32(min(min(start.x, start.y), min(start.z, start.w)));
  let to_j = min(u32(max(max(end.x, end.y), max(end.z, end.w))), params.out_width);
  var c00 = mat4x4f(); var c01 = mat4x4f(); var c02 = mat4x4f(); var c03 = mat4x4f();
  var c10 = mat4x4f(); var c11 = mat4x4f(); var c12 = mat4x4f(); var c13 = mat4x4f();
  var c20 = mat4x4f(); var c21 = mat4x4f(); var c22 = mat4x4f(); var c23 = mat4x4f();
  var c30 = mat4x4f(); var c31 = mat4x4f(); var c32 = mat4x4f(); var c33 = mat4x4f();
  let rows = params.images * params.out_height;
  let last_row = min((split + 1) * params.rows_per_split, rows);
  for (var row = split * params.rows_per_split; row < last_row; row++) {
    // A negative coordinate is a huge unsigned one.
    let y = vec4u(i32(row % params.out_height) * params.stride + top);
    let in_rows = y < vec4u(params.in_height);
    if (!any(in_rows)) { continue; }
    let in_row = row / params.out_height * params.in_height + y;
    var in_column = vec4u(i32(from_j) * params.stride + left);
    var at_x = (in_row * params.in_width + in_column) * params.in_quads + column % params.in_quads;
    var at_g = (row * params.out_width + from_j) * out_quads + out_quad;
    for (var j = from_j; j < to_j; j++) {
      // Outside the image, WGSL reads some number in place of a missing one; it is not used.
      let inside = in_rows & (in_column < vec4u(params.in_width));
      let x0 = select(vec4f(), x[at_x.x], inside.x);
      let x1 = select(vec4f(), x[at_x.y], inside.y);
      let x2 = select(vec4f(), x[at_x.z], inside.z);
      let x3 = select(vec4f(), x[at_x.w], inside.w);
      let g0 = grad_output[at_g.x]; let g1 = grad_output[at_g.y];
      let g2 = grad_output[at_g.z]; let g3 = grad_output[at_g.w];
      c00 += outer(x0, g0); c01 += outer(x1, g0); c02 += outer(x2, g0); c03 += outer(x3, g0);
      c10 += outer(x0, g1); c11 += outer(x1, g1); c12 += outer(x2, g1); c13 += outer(x3, g1);
      c20 += outer(x0, g2); c21 += outer(x1, g2); c22 += outer(x2, g2); c23 += outer(x3, g2);
      c30 += outer(x0, g3); c31 += outer(x1, g3); c32 += outer(x2, g3); c33 += outer(x3, g3);
      in_column += vec4u(u32(params.stride));
      at_x += vec4u(u32(params.stride) * params.in_quads);
      at_g += vec4u(out_quads);
    }
  }
  // A loop over channels: drivers take many times longer to compile 64 stores written out.
  var blocks = array(c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33);
  for (var i = 0u; i < min(CHANNELS, params.out_channels - first_channel); i++) {
    let at = (split * params.out_channels + first_channel + i) * params.columns + column;
    let block = i / 4 * 4;
    parts[at.x] = blocks[block][i % 4];
    parts[at.y] = blocks[block + 1][i % 4];
    parts[at.z] = blocks[block + 2][i % 4];
    parts[at.w] = blocks[block + 3][i % 4];
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn total_weight(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let columns = total_params.taps * total_params.in_quads;
  let count = total_params.out_channels * columns;
  if (i >= count) { return; }
  var sum = vec4f();
  // Four at a time, as drivers wait for the loads of every round.
  var next = i;
  let end = total_params.splits * count;
  for (; next + 3 * count < end; next += 4 * count) {
    let p0 = parts[next];
    let p1 = parts[next + count];
    let p2 = parts[next + 2 * count];
    let p3 = parts[next + 3 * count];
    sum += p0;
    sum += p1;
    sum += p2;
    sum += p3;
  }
  for (; next < end; next += count) { sum += parts[next]; }
  let tap = i % columns / total_params.in_quads;
  let channel = i % total_params.in_quads * 4;
  for (var e = 0u; e < min(4, total_params.in_channels - channel); e++) {
    let at = (i / columns * total_params.in_channels + channel + e) * total_params.taps + tap;
    if (total_params.accumulate == 1) { grad_weight[at] += sum[e]; } else { grad_weight[at] = sum[e]; }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn accumulate_bias(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let quads = (bias_params.channels + 3) / 4;
  let run = i / quads;
  if (run >= bias_params.runs) { return; }
  var sum = vec4f();
  let last = min((run + 1) * bias_params.run, bias_params.positions);
  for (var position = run * bias_params.run; position < last; position++) {
    sum += grad_output[position * quads + i % quads];
  }
  parts[i] = sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn total_bias(@builtin(global_invocation_id) id: vec3u) {
  let channel = id.x;
  if (channel >= bias_params.channels) { return; }
  let quads = (bias_params.channels + 3) / 4;
  var sum = 0.0;
  for (var run = 0u; run < bias_params.runs; run++) {
    sum += parts[run * quads + channel / 4][channel % 4];
  }
  if (bias_params.accumulate == 1) { grad_bias[channel] += sum; } else { grad_bias[channel] = sum; }
}
