// Matrix products c = a b with both operands stored sum-first ("K-major"), and the packing for it.
//
//   pack:     packed[s][t][r][q] = the four elements source[origin + s·s_step + t·t_step + r·row_step
//             + (4 q + e)·column_step], e = 0…3; zeros past the last column
//   multiply: c[b][m][n] = bias[m] + Σ_k left[k][m] right[b][k][n], or with left[b][k][m], plus
//             what c held where ACCUMULATE is true
//   trim:     trimmed[m][n] = padded[m][n], without the padding of its rows
//
// left: [K, row_quads] quads along m, or [B, K, row_quads] where `left_per_batch` is 1; right:
// [B, K, column_quads] and c: [B, M, column_quads], quads along n. A quad is a vec4f of neighbours;
// lengths that are not a multiple of four are padded.
// pack: an invocation owns PACK_RUN quads of a row. multiply: an invocation owns TILE_ROWS ×
// TILE_COLUMNS of c, columns counted over all of the batch. trim: an invocation owns one element.
// All overwrite, unless ACCUMULATE.
//
// The shape of `multiply` is what software adapters run fastest: 16 × 16 sums per invocation in
// named matrices, all loads of a step before its products, no workgroup memory, no unrolling over
// k.

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> packed: array<vec4f>;
@group(0) @binding(2) var<storage, read> left: array<vec4f>;
@group(0) @binding(3) var<storage, read> right: array<vec4f>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(6) var<storage, read> padded: array<f32>;
@group(0) @binding(7) var<storage, read_write> trimmed: array<f32>;

struct PackParams {
  outer: u32,
  inner: u32,
  rows: u32,
  columns: u32,
  origin: i32,
  outer_step: i32,
  inner_step: i32,
  row_step: i32,
  column_step: i32,
}
@group(1) @binding(0) var<uniform> pack_params: PackParams;

struct Params {
  batch: u32,
  rows: u32,
  depth: u32,
  column_quads: u32,
  has_bias: u32,
  left_per_batch: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

struct TrimParams { rows: u32, columns: u32, padded_columns: u32 }
@group(1) @binding(0) var<uniform> trim_params: TrimParams;

// Whether to add to what c holds: known when the kernel is compiled, as software adapters pay for
// the question.
override ACCUMULATE: bool = false;
const WORKGROUP_SIZE = 64u;
// Quads of a row that one invocation packs: those of one line of a CPU's cache.
const PACK_RUN = 4u;
const LANES = 8u;
// What an invocation of multiply owns, written out there.
const TILE_ROWS = 16u;
const TILE_COLUMNS = 16u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn pack(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= pack_params.rows) { return; }
  let quads = (pack_params.columns + 3) / 4;
  let first = pack_params.origin +
    i32(id.z / pack_params.inner) * pack_params.outer_step +
    i32(id.z % pack_params.inner) * pack_params.inner_step +
    i32(id.x) * pack_params.row_step;
  let row = (id.z * pack_params.rows + id.x) * quads;
  for (var q = id.y * PACK_RUN; q < min((id.y + 1) * PACK_RUN, quads); q++) {
    let column = q * 4 + vec4u(0, 1, 2, 3);
    let inside = column < vec4u(pack_params.columns);
    let at = select(vec4i(), first + vec4i(column) * pack_params.column_step, inside);
    let quad = vec4f(source[at.x], source[at.y], source[at.z], source[at.w]);
    packed[row + q] = select(vec4f(), quad, inside);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn trim(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (i >= trim_params.rows * trim_params.columns) { return; }
  let row = i / trim_params.columns;
  trimmed[i] = padded[row * trim_params.padded_columns + i % trim_params.columns];
}

// Column i of the result is x y[i].
fn outer(x: vec4f, y: vec4f) -> mat4x4f {
  return mat4x4f(x * y.x, x * y.y, x * y.z, x * y.w);
}

// Writes four rows of four column quads. The loop is for compilers: drivers take many times longer
// over all the stores written out, and all sixteen rows in one loop slow the products down.
fn store(first_row: u32, first_at: vec4u, block: array<mat4x4f, 4>) {
  var blocks = block;
  for (var i = 0u; i < min(4, max(first_row, params.rows) - first_row); i++) {
    let row = first_row + i;
    let at = first_at + row * params.column_quads;
    var start = 0.0;
    if (params.has_bias == 1) { start = bias[row]; }
    var held = mat4x4f();
    // All before the first store, as the last quad may be among them several times.
    if (ACCUMULATE) { held = mat4x4f(c[at.x], c[at.y], c[at.z], c[at.w]); }
    c[at.x] = blocks[0][i] + start + held[0];
    c[at.y] = blocks[1][i] + start + held[1];
    c[at.z] = blocks[2][i] + start + held[2];
    c[at.w] = blocks[3][i] + start + held[3];
  }
}

@compute @workgroup_size(LANES)
fn multiply(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = ((group.y * groups.x + group.x) * LANES + lane) * (TILE_COLUMNS / 4);
  let columns_end = params.batch * params.column_quads;
  if (first >= columns_end) { return; }
  let row_quads = (params.rows + 3) / 4;
  // Past the end the last quad is computed again.
  let columns = min(first + vec4u(0, 1, 2, 3), vec4u(columns_end - 1));
  let batch = columns / params.column_quads;
  var l = min(group.z * (TILE_ROWS / 4) + vec4u(0, 1, 2, 3), vec4u(row_quads - 1)) +
    params.left_per_batch * batch.x * params.depth * row_quads;
  var r = batch * params.depth * params.column_quads + columns % params.column_quads;
  var c00 = mat4x4f(); var c01 = mat4x4f(); var c02 = mat4x4f(); var c03 = mat4x4f();
  var c10 = mat4x4f(); var c11 = mat4x4f(); var c12 = mat4x4f(); var c13 = mat4x4f();
  var c20 = mat4x4f(); var c21 = mat4x4f(); var c22 = mat4x4f(); var c23 = mat4x4f();
  var c30 = mat4x4f(); var c31 = mat4x4f(); var c32 = mat4x4f(); var c33 = mat4x4f();
  for (var k = 0u; k < params.depth; k++) {
    let l0 = left[l.x]; let l1 = left[l.y]; let l2 = left[l.z]; let l3 = left[l.w];
    let r0 = right[r.x]; let r1 = right[r.y]; let r2 = right[r.z]; let r3 = right[r.w];
    c00 += outer(r0, l0); c01 += outer(r1, l0); c02 += outer(r2, l0); c03 += outer(r3, l0);
    c10 += outer(r0, l1); c11 += outer(r1, l1); c12 += outer(r2, l1); c13 += outer(r3, l1);
    c20 += outer(r0, l2); c21 += outer(r1, l2); c22 += outer(r2, l2); c23 += outer(r3, l2);
    c30 += outer(r0, l3); c31 += outer(r1, l3); c32 += outer(r2, l3); c33 += outer(r3, l3);
    l += vec4u(row_quads);
    r += vec4u(params.column_quads);
  }
  let row = group.z * TILE_ROWS;
  let at = batch * params.rows * params.column_quads + columns % params.column_quads;
  store(row, at, array(c00, c01, c02, c03));
  store(row + 4, at, array(c10, c11, c12, c13));
  store(row + 8, at, array(c20, c21, c22, c23));
  store(row + 12, at, array(c30, c31, c32, c33));
}
