// The correlation of conv2d.wgsl for GPUs: the same formula, arrays and parameters, as a matrix
// product of the weights with columns of x that are gathered on the way to workgroup memory.
//
//   y[n][o][i y_step + y_top][j y_step + y_left] = bias[o] + Σ_{u,v,c}
//     weight[u][v][c][o] x[n][c][i x_step + u tap_step + x_top][j x_step + v tap_step + x_left]
//   plus what y held where `accumulate` is 1
//
// x: [N, in_channels, in_height, in_width]; y: [N, out_channels, out_height, out_width]; weight:
// [tap_rows, tap_columns, in_channels, out_quads]. The sum runs over k = (u, v, c) in order, as in
// conv2d.wgsl, so both give the same bits where the compiler treats both alike.
//
// A workgroup owns LEFT_QUADS quads of output channels × RIGHT_QUADS quads of positions, counted
// over the planes of all images, and overwrites or adds to them. The four positions of a quad lie
// RIGHT_QUADS apart, so that neighbouring invocations read and write neighbouring positions. Tiles
// count channels first, then positions, then splits of the sum: where it is split, y is
// [splits, N, …], without the bias. The rest is as in matmul_shared.wgsl, which has the reasons.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

struct Params {
  images: u32,
  in_channels: u32,
  in_height: u32,
  in_width: u32,
  out_channels: u32,
  out_height: u32,
  out_width: u32,
  rows: u32,
  columns: u32,
  tap_rows: u32,
  tap_columns: u32,
  tap_step: i32,
  x_step: i32,
  x_top: i32,
  x_left: i32,
  y_step: u32,
  y_top: u32,
  y_left: u32,
  has_bias: u32,
  accumulate: u32,
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
alias Element = f32;
override IN_HALVES = false;
alias Quad = vec4<Element>;
var<workgroup> left_tile: array<array<Quad, DEPTH + 1>, LEFT_QUADS>;
var<workgroup> right_tile: array<array<Quad, DEPTH + 1>, RIGHT_QUADS>;

// Four positions: their images, and the row and column of each within the plane.
struct Positions { image: vec4u, row: vec4u, column: vec4u, exists: vec4<bool> }

fn positions_at(first: u32) -> Positions {
  let plane = params.rows * params.columns;
  let position = first + RIGHT_QUADS * vec4u(0, 1, 2, 3);
  let exists = position < vec4u(params.images * plane);
  let within = position % plane;
  return Positions(position / plane, within / params.columns, within % params.columns, exists);
}

// Where the first tap lies at four positions: index of channel 0 of the image, row and column in
// it. A position past the end lies outside of every image.
struct Corners { index: vec4u, row: vec4i, column: vec4i }

fn corners_at(first: u32) -> Corners {
  let p = positions_at(first);
  let row = vec4i(p.row) * params.x_step + params.x_top;
  return Corners(
    p.image * (params.in_channels * params.in_height * params.in_width),
    select(vec4i(-0x40000000), row, p.exists),
    vec4i(p.column) * params.x_step + params.x_left,
  );
}

// A term of the sum: its tap and channel, and where the tap reads channel 0 at four positions.
// Outside the image `inside` is false, what is read is dropped, and the index is zero.
struct Term { tap: u32, channel: u32, index: vec4u, inside: vec4<bool> }

fn term_at(corners: Corners, k: u32) -> Term {
  let tap = k / params.in_channels;
  let row = vec4u(corners.row + i32(tap / params.tap_columns) * params.tap_step);
  let column = vec4u(corners.column + i32(tap % params.tap_columns) * params.tap_step);
  // A negative coordinate is a huge unsigned one.
  let inside = (row < vec4u(params.in_height)) & (column < vec4u(params.in_width)) &
    vec4<bool>(tap < params.tap_rows * params.tap_columns);
  let index = select(vec4u(), corners.index + row * params.in_width + column, inside);
  return Term(tap, k % params.in_channels, index, inside);
}

fn advance(term: ptr<function, Term>, corners: Corners, terms: u32) {
  (*term).channel += terms;
  if ((*term).channel >= params.in_channels) {
    *term = term_at(corners, (*term).tap * params.in_channels + (*term).channel);
  }
}

fn x_at(term: Term) -> vec4f {
  let i = term.index + term.channel * params.in_height * params.in_width;
  return vec4f(x[i.x], x[i.y], x[i.z], x[i.w]);
}

// What was loaded for a term, or zeros. Asked only on the way to workgroup memory, as in
// matmul_shared.wgsl.
fn kept(value: vec4f, inside: vec4<bool>) -> Quad {
  return Quad(select(vec4f(), value, inside));
}

// Whether row u of the taps reads outside the image at all rows from `top` to `bottom`.
fn misses(u: u32, top: u32, bottom: u32) -> bool {
  let offset = i32(u) * params.tap_step + params.x_top;
  return i32(bottom) * params.x_step + offset < 0 ||
    i32(top) * params.x_step + offset >= i32(params.in_height);
}

// The rows of taps that any of the positions from `first` on needs: a dilated one lies outside for
// whole rows of an image. Those in between are all needed.
fn tap_rows_of(first: u32) -> vec2u {
  var used = vec2u(0, params.tap_rows);
  let plane = params.rows * params.columns;
  let last = min(first + RIGHT_QUADS * 4, params.images * plane) - 1;
  if (first / plane != last / plane) { return used; }
  let top = first % plane / params.columns;
  let bottom = last % plane / params.columns;
  while (used.x < used.y && misses(used.x, top, bottom)) { used.x++; }
  while (used.x < used.y && misses(used.y - 1, top, bottom)) { used.y--; }
  return used;
}

struct Sums {
  c00: mat4x4<Element>,
  c01: mat4x4<Element>,
  c10: mat4x4<Element>,
  c11: mat4x4<Element>,
}

struct Totals { c00: mat4x4f, c01: mat4x4f, c10: mat4x4f, c11: mat4x4f }

// Column i of the result is x y[i].
fn outer(x: Quad, y: Quad) -> mat4x4<Element> {
  return mat4x4<Element>(x * y.x, x * y.y, x * y.z, x * y.w);
}

fn widened(m: mat4x4<Element>) -> mat4x4f {
  return mat4x4f(vec4f(m[0]), vec4f(m[1]), vec4f(m[2]), vec4f(m[3]));
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

fn add_up(totals: ptr<function, Totals>, sums: ptr<function, Sums>) {
  (*totals).c00 += widened((*sums).c00);
  (*totals).c01 += widened((*sums).c01);
  if (ROW_QUADS == 2) {
    (*totals).c10 += widened((*sums).c10);
    (*totals).c11 += widened((*sums).c11);
  }
  *sums = Sums();
}

// Where y has output channel 0 at four positions.
struct Outputs { index: vec4u, exists: vec4<bool> }

fn outputs_at(split: u32, first: u32) -> Outputs {
  let p = positions_at(first);
  let plane = params.out_height * params.out_width;
  let index = (split * params.images + p.image) * params.out_channels * plane +
    (p.row * params.y_step + params.y_top) * params.out_width +
    p.column * params.y_step + params.y_left;
  return Outputs(index, p.exists);
}

// Four channels of y, for all of which one branch asks: so all are loaded before the first is
// waited for. What lies outside is not stored.
fn held(first: u32, at: Outputs) -> mat4x4f {
  let plane = params.out_height * params.out_width;
  let i = at.index + first * plane;
  return mat4x4f(y_at(i), y_at(i + plane), y_at(i + 2 * plane), y_at(i + 3 * plane));
}

fn y_at(i: vec4u) -> vec4f { return vec4f(y[i.x], y[i.y], y[i.z], y[i.w]); }

fn store_quad(offset: u32, to: Outputs, values: vec4f) {
  let at = to.index + offset;
  if (to.exists.x) { y[at.x] = values.x; }
  if (to.exists.y) { y[at.y] = values.y; }
  if (to.exists.z) { y[at.z] = values.z; }
  if (to.exists.w) { y[at.w] = values.w; }
}

fn store(channel: u32, y0: Outputs, x0: vec4f, y1: Outputs, x1: vec4f) {
  if (channel >= params.out_channels) { return; }
  var start = 0.0;
  if (params.has_bias == 1) { start = bias[channel]; }
  let offset = channel * params.out_height * params.out_width;
  store_quad(offset, y0, x0 + start);
  store_quad(offset, y1, x1 + start);
}

@compute @workgroup_size(THREADS)
fn correlate(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = params.first_tile + group.y * groups.x + group.x;
  if (tile >= params.end_tile) { return; }
  let out_quads = (params.out_channels + 3) / 4;
  let channel_tiles = (out_quads + LEFT_QUADS - 1) / LEFT_QUADS;
  let first_quad = tile % channel_tiles * LEFT_QUADS;
  let positions = params.images * params.rows * params.columns;
  let position_tiles = (positions + RIGHT_QUADS * 4 - 1) / (RIGHT_QUADS * 4);
  let first_position = tile / channel_tiles % position_tiles * RIGHT_QUADS * 4;
  let split = tile / (channel_tiles * position_tiles);
  let used_rows = tap_rows_of(first_position) * params.tap_columns * params.in_channels;
  let first_k = max(split * params.terms_per_split, used_rows.x);
  let end_k = min((split + 1) * params.terms_per_split, used_rows.y);

  // What this invocation copies. Past the end, the last quad is multiplied again and not stored.
  let left_quad = lane % LEFT_QUADS;
  let left_term = lane / LEFT_QUADS;
  let right_quad = lane % RIGHT_QUADS;
  let right_term = lane / RIGHT_QUADS;
  var left_k = first_k + left_term;
  var w = left_k * out_quads + min(first_quad + left_quad, out_quads - 1);
  let left_pass = LEFT_TERMS * out_quads;
  let corners = corners_at(first_position + right_quad);
  var term = term_at(corners, first_k + right_term);
  var t0 = term;
  if (RIGHT_TERMS < DEPTH) { advance(&term, corners, RIGHT_TERMS); }
  var l0 = weight[w];
  var r0 = x_at(t0);
  var l1: vec4f;
  var r1: vec4f;
  if (LEFT_TERMS < DEPTH) { l1 = weight[w + left_pass]; }
  if (RIGHT_TERMS < DEPTH) { r1 = x_at(term); }

  let block = lane / 32;
  let row = block / (THREAD_COLUMNS / 8) * 4 + lane % 32 / 8;
  let column = block % (THREAD_COLUMNS / 8) * 8 + lane % 8;
  var sums: Sums;
  var totals: Totals;
  for (var k = first_k; k < end_k; k += DEPTH) {
    workgroupBarrier();
    if (LEFT_TERMS <= DEPTH || left_term < DEPTH) {
      left_tile[left_quad][left_term] = kept(l0, vec4<bool>(left_k < end_k));
    }
    right_tile[right_quad][right_term] = kept(r0, t0.inside);
    if (LEFT_TERMS < DEPTH) {
      left_tile[left_quad][left_term + LEFT_TERMS] =
        kept(l1, vec4<bool>(left_k + LEFT_TERMS < end_k));
    }
    if (RIGHT_TERMS < DEPTH) {
      right_tile[right_quad][right_term + RIGHT_TERMS] = kept(r1, term.inside);
    }
    workgroupBarrier();
    left_k += DEPTH;
    w += DEPTH * out_quads;
    advance(&term, corners, RIGHT_TERMS);
    t0 = term;
    if (RIGHT_TERMS < DEPTH) { advance(&term, corners, RIGHT_TERMS); }
    l0 = weight[w];
    r0 = x_at(t0);
    if (LEFT_TERMS < DEPTH) { l1 = weight[w + left_pass]; }
    if (RIGHT_TERMS < DEPTH) { r1 = x_at(term); }
    add_products(&sums, row, column, 0);
    add_products(&sums, row, column, 1);
    add_products(&sums, row, column, 2);
    add_products(&sums, row, column, 3);
    add_products(&sums, row, column, 4);
    add_products(&sums, row, column, 5);
    add_products(&sums, row, column, 6);
    add_products(&sums, row, column, 7);
    if (IN_HALVES) { add_up(&totals, &sums); }
  }
  add_up(&totals, &sums);

  let y0 = outputs_at(split, first_position + column);
  let y1 = outputs_at(split, first_position + column + THREAD_COLUMNS);
  let first = (first_quad + row) * 4;
  let second = first + THREAD_ROWS * 4;
  if (params.accumulate == 1) {
    totals.c00 += held(first, y0);
    totals.c01 += held(first, y1);
    if (ROW_QUADS == 2) {
      totals.c10 += held(second, y0);
      totals.c11 += held(second, y1);
    }
  }
  store(first, y0, totals.c00[0], y1, totals.c01[0]);
  store(first + 1, y0, totals.c00[1], y1, totals.c01[1]);
  store(first + 2, y0, totals.c00[2], y1, totals.c01[2]);
  store(first + 3, y0, totals.c00[3], y1, totals.c01[3]);
  if (ROW_QUADS == 2) {
    store(second, y0, totals.c10[0], y1, totals.c11[0]);
    store(second + 1, y0, totals.c10[1], y1, totals.c11[1]);
    store(second + 2, y0, totals.c10[2], y1, totals.c11[2]);
    store(second + 3, y0, totals.c10[3], y1, totals.c11[3]);
  }
}
