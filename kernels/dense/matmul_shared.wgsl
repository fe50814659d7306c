// The matrix products of matmul.wgsl for GPUs: a workgroup computes a tile of outputs from operands
// that it copies to workgroup memory, a few of the sum at a time.
//
//   multiply: c[b][m][n] = bias[m] + Σ_k left[k][m] right[b][k][n], or with left[b][k][m]
//   total:    y[i] = bias[m of i] + Σ_s parts[s][i]
// plus what c or y held where `accumulate` is 1.
//
// Where the sum over k is split, c is [splits, B, M, column_quads], without the bias, and total
// adds up.
// left: [K, row_quads] quads along m, or [B, K, row_quads] where `left_per_batch` is 1; right:
// [B, K, column_quads] and c: [B, M, column_quads], quads along n. Sums run over k in order, as in
// matmul.wgsl, so both give the same bits where the compiler treats both alike.
//
// A workgroup owns LEFT_QUADS row quads × RIGHT_QUADS column quads of one span, and overwrites
// or adds to them: a span is one matrix of the batch where left differs, else the columns of the whole batch.
// Tiles count rows first, then columns, spans and splits. An invocation owns ROW_QUADS × 2 of the
// quads, THREAD_ROWS and THREAD_COLUMNS apart; 32 neighbours, which most GPUs run as one, are 4 ×
// 8, so that together they read as few quads of both operands as they can. In workgroup memory a
// quad's DEPTH terms lie together, with one unused: a stride of 36 words lets eight invocations
// read sixteen bytes each from different banks, and every index but the quad's is a constant, which
// spares WebGPU's bounds checks. While a tile is multiplied, each invocation already holds its
// share of the next one.
// total: parts is [splits, B, M, N], y [B, M, N]; an invocation owns one element.

@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(4) var<storage, read> parts: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

struct Params {
  rows: u32,
  depth: u32,
  batch: u32,
  column_quads: u32,
  span_quads: u32,
  has_bias: u32,
  left_per_batch: u32,
  accumulate: u32,
  terms_per_split: u32,
  first_tile: u32,
  end_tile: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

struct TotalParams {
  count: u32,
  rows: u32,
  columns: u32,
  splits: u32,
  has_bias: u32,
  accumulate: u32,
}
@group(1) @binding(0) var<uniform> total_params: TotalParams;

override THREAD_ROWS = 8u;
override THREAD_COLUMNS = 8u;
override ROW_QUADS = 2u;
override THREADS = THREAD_ROWS * THREAD_COLUMNS;
override LEFT_QUADS = THREAD_ROWS * ROW_QUADS;
override RIGHT_QUADS = THREAD_COLUMNS * 2u;
// How many of the DEPTH terms one pass of all invocations copies: all of them, or half.
override LEFT_TERMS = THREADS / LEFT_QUADS;
override RIGHT_TERMS = THREADS / RIGHT_QUADS;
const DEPTH = 8u;
// The numbers that are multiplied. A variant of the kernel has f16 here, and adds up DEPTH products
// in it before they go into 32-bit sums.
alias Element = f32;
override IN_HALVES = false;
alias Quad = vec4<Element>;
var<workgroup> left_tile: array<array<Quad, DEPTH + 1>, LEFT_QUADS>;
var<workgroup> right_tile: array<array<Quad, DEPTH + 1>, RIGHT_QUADS>;

// What was loaded for term k, or zeros past the end of the sum. Asked only on the way to workgroup
// memory: a branch around the load makes drivers wait for it before the products, not after.
fn kept(value: vec4f, k: u32, end_k: u32) -> Quad {
  return Quad(select(vec4f(), value, k < end_k));
}

// Rows of four by columns of four; a matrix holds a row in each of its columns.
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

struct Output { index: u32, inside: bool }

// Where column quad `column` of the span has its first row.
fn output_at(split: u32, span: u32, column: u32) -> Output {
  let of_batch = span * params.span_quads + column;
  let first = (split * params.batch + of_batch / params.column_quads) * params.rows *
    params.column_quads;
  return Output(first + of_batch % params.column_quads, column < params.span_quads);
}

// Four rows of c, for all of which one branch asks: so all are loaded before the first is waited
// for. What lies outside is not stored.
fn held(first: u32, y: Output) -> mat4x4f {
  let i = y.index + first * params.column_quads;
  let step = params.column_quads;
  return mat4x4f(c[i], c[i + step], c[i + 2 * step], c[i + 3 * step]);
}

fn store(row: u32, y0: Output, x0: vec4f, y1: Output, x1: vec4f) {
  if (row >= params.rows) { return; }
  var start = 0.0;
  if (params.has_bias == 1) { start = bias[row]; }
  if (y0.inside) { c[y0.index + row * params.column_quads] = x0 + start; }
  if (y1.inside) { c[y1.index + row * params.column_quads] = x1 + start; }
}

@compute @workgroup_size(THREADS)
fn multiply(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = params.first_tile + group.y * groups.x + group.x;
  if (tile >= params.end_tile) { return; }
  let row_quads = (params.rows + 3) / 4;
  let row_tiles = (row_quads + LEFT_QUADS - 1) / LEFT_QUADS;
  let column_tiles = (params.span_quads + RIGHT_QUADS - 1) / RIGHT_QUADS;
  let first_row = tile % row_tiles * LEFT_QUADS;
  let first_column = tile / row_tiles % column_tiles * RIGHT_QUADS;
  let spans = params.batch * params.column_quads / params.span_quads;
  let span = tile / (row_tiles * column_tiles) % spans;
  let split = tile / (row_tiles * column_tiles * spans);
  let first_k = split * params.terms_per_split;
  let end_k = min(first_k + params.terms_per_split, params.depth);

  // What this invocation copies. Past the end, the last quad is multiplied again and not stored.
  let left_quad = lane % LEFT_QUADS;
  let left_term = lane / LEFT_QUADS;
  let right_quad = lane % RIGHT_QUADS;
  let right_term = lane / RIGHT_QUADS;
  let right_column = span * params.span_quads +
    min(first_column + right_quad, params.span_quads - 1);
  var left_k = first_k + left_term;
  var right_k = first_k + right_term;
  var l = (params.left_per_batch * span * params.depth + left_k) * row_quads +
    min(first_row + left_quad, row_quads - 1);
  var r = (right_column / params.column_quads * params.depth + right_k) * params.column_quads +
    right_column % params.column_quads;
  let left_pass = LEFT_TERMS * row_quads;
  let right_pass = RIGHT_TERMS * params.column_quads;
  var l0 = left[l];
  var r0 = right[r];
  var l1: vec4f;
  var r1: vec4f;
  if (LEFT_TERMS < DEPTH) { l1 = left[l + left_pass]; }
  if (RIGHT_TERMS < DEPTH) { r1 = right[r + right_pass]; }

  let block = lane / 32;
  let row = block / (THREAD_COLUMNS / 8) * 4 + lane % 32 / 8;
  let column = block % (THREAD_COLUMNS / 8) * 8 + lane % 8;
  var sums: Sums;
  var totals: Totals;
  for (var k = first_k; k < end_k; k += DEPTH) {
    workgroupBarrier();
    if (LEFT_TERMS <= DEPTH || left_term < DEPTH) {
      left_tile[left_quad][left_term] = kept(l0, left_k, end_k);
    }
    right_tile[right_quad][right_term] = kept(r0, right_k, end_k);
    if (LEFT_TERMS < DEPTH) {
      left_tile[left_quad][left_term + LEFT_TERMS] = kept(l1, left_k + LEFT_TERMS, end_k);
    }
    if (RIGHT_TERMS < DEPTH) {
      right_tile[right_quad][right_term + RIGHT_TERMS] = kept(r1, right_k + RIGHT_TERMS, end_k);
    }
    workgroupBarrier();
    left_k += DEPTH;
    right_k += DEPTH;
    l += DEPTH * row_quads;
    r += DEPTH * params.column_quads;
    l0 = left[l];
    r0 = right[r];
    if (LEFT_TERMS < DEPTH) { l1 = left[l + left_pass]; }
    if (RIGHT_TERMS < DEPTH) { r1 = right[r + right_pass]; }
    // Written out: drivers do not unroll the loops that WebGPU bounds.
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

  let y0 = output_at(split, span, first_column + column);
  let y1 = output_at(split, span, first_column + column + THREAD_COLUMNS);
  let first = (first_row + row) * 4;
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

const WORKGROUP_SIZE = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn total(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (i >= total_params.count) { return; }
  var sum = 0.0;
  for (var s = 0u; s < total_params.splits; s++) { sum += parts[s * total_params.count + i]; }
  if (total_params.has_bias == 1) { sum += bias[i / total_params.columns % total_params.rows]; }
  if (total_params.accumulate == 1) { sum += y[i]; }
  y[i] = sum;
}
