// The first pass of the weight gradient of conv2d_weight.wgsl for GPUs: the same formula and
// arrays, as a matrix product of two tall matrices whose long sum is split; conv2d_weight.wgsl adds
// the parts.
//
//   parts[s][o][u,v,c] = Σ_{k in split s} grad_output[k][o]
//     x[n][i stride - padding + u dilation][j stride - padding + v dilation][c]
//
// where k = (n, i, j) counts the positions of grad_output over all images, in order.
// Both operands come pixel-major, as quads of neighbouring channels padded with zeros:
// x: [N, in_height, in_width, in_quads]; grad_output: [N, out_height, out_width, out_quads].
// A column of parts, [splits, O, columns], is a tap and a quad of input channels.
//
// A workgroup owns LEFT_QUADS quads of output channels × RIGHT_QUADS columns of one split, and
// overwrites them; tiles count output channels first, then columns, then splits. The rest is as in
// matmul_shared.wgsl, which has the reasons.

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> grad_output: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> parts: array<vec4f>;

struct Params {
  positions: u32,
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
  terms_per_split: u32,
  first_tile: u32,
  end_tile: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

override THREAD_ROWS = 8u;
override THREAD_COLUMNS = 8u;
override ROW_QUADS = 2u;
override THREADS = THREAD_ROWS * THREAD_COLUMNS;
override LEFT_QUADS = THREAD_ROWS * ROW_QUADS;
override RIGHT_QUADS = THREAD_COLUMNS * 2u;
override LEFT_TERMS = THREADS / LEFT_QUADS;
override RIGHT_TERMS = THREADS / RIGHT_QUADS;
const DEPTH = 8u;

var<workgroup> left_tile: array<array<vec4f, DEPTH + 1>, LEFT_QUADS>;
var<workgroup> right_tile: array<array<vec4f, DEPTH + 1>, RIGHT_QUADS>;

fn kept(value: vec4f, inside: bool) -> vec4f { return select(vec4f(), value, inside); }

// Where a tap reads a quad of channels, relative to the position.
struct Tap { top: i32, left: i32, quad: u32 }

fn tap_of(column: u32) -> Tap {
  let tap = column / params.in_quads;
  return Tap(
    i32(tap / params.tap_columns) * params.dilation - params.padding,
    i32(tap % params.tap_columns) * params.dilation - params.padding,
    column % params.in_quads,
  );
}

// A position as a row, counted over all images, and a column.
struct Position { row: u32, column: u32 }

fn advance(position: ptr<function, Position>, steps: u32) {
  let column = (*position).column + steps;
  if (column < params.out_width) {
    (*position).column = column;
  } else {
    *position = Position((*position).row + column / params.out_width, column % params.out_width);
  }
}

// Where a tap reads at a position. Outside the image `inside` is false.
struct Place { index: u32, inside: bool }

fn place_of(position: Position, tap: Tap) -> Place {
  // A negative coordinate is a huge unsigned one.
  let row = u32(i32(position.row % params.out_height) * params.stride + tap.top);
  let column = u32(i32(position.column) * params.stride + tap.left);
  let in_row = position.row / params.out_height * params.in_height + row;
  return Place(
    (in_row * params.in_width + column) * params.in_quads + tap.quad,
    row < params.in_height && column < params.in_width,
  );
}

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
  let left_quad = lane % LEFT_QUADS;
  let left_term = lane / LEFT_QUADS;
  let right_quad = lane % RIGHT_QUADS;
  let right_term = lane / RIGHT_QUADS;
  var left_k = first_k + left_term;
  var right_k = first_k + right_term;
  var g = left_k * out_quads + min(first_quad + left_quad, out_quads - 1);
  let left_pass = LEFT_TERMS * out_quads;
  let tap = tap_of(min(first_column + right_quad, params.columns - 1));
  var position = Position(right_k / params.out_width, right_k % params.out_width);
  var p0 = place_of(position, tap);
  var p1: Place;
  if (RIGHT_TERMS < DEPTH) {
    advance(&position, RIGHT_TERMS);
    p1 = place_of(position, tap);
  }
  var l0 = grad_output[g];
  var r0 = x[p0.index];
  var l1: vec4f;
  var r1: vec4f;
  if (LEFT_TERMS < DEPTH) { l1 = grad_output[g + left_pass]; }
  if (RIGHT_TERMS < DEPTH) { r1 = x[p1.index]; }

  let block = lane / 32;
  let row = block / (THREAD_COLUMNS / 8) * 4 + lane % 32 / 8;
  let column = block % (THREAD_COLUMNS / 8) * 8 + lane % 8;
  var sums: Sums;
  for (var k = first_k; k < end_k; k += DEPTH) {
    workgroupBarrier();
    if (LEFT_TERMS <= DEPTH || left_term < DEPTH) {
      left_tile[left_quad][left_term] = kept(l0, left_k < end_k);
    }
    right_tile[right_quad][right_term] = kept(r0, p0.inside && right_k < end_k);
    if (LEFT_TERMS < DEPTH) {
      left_tile[left_quad][left_term + LEFT_TERMS] = kept(l1, left_k + LEFT_TERMS < end_k);
    }
    if (RIGHT_TERMS < DEPTH) {
      right_tile[right_quad][right_term + RIGHT_TERMS] =
        kept(r1, p1.inside && right_k + RIGHT_TERMS < end_k);
    }
    workgroupBarrier();
    left_k += DEPTH;
    right_k += DEPTH;
    g += DEPTH * out_quads;
    advance(&position, RIGHT_TERMS);
    p0 = place_of(position, tap);
    if (RIGHT_TERMS < DEPTH) {
      advance(&position, RIGHT_TERMS);
      p1 = place_of(position, tap);
    }
    l0 = grad_output[g];
    r0 = x[p0.index];
    if (LEFT_TERMS < DEPTH) { l1 = grad_output[g + left_pass]; }
    if (RIGHT_TERMS < DEPTH) { r1 = x[p1.index]; }
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
