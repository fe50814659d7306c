// Packs many weights of one buffer at once: the `pack` of matmul.wgsl, over a table.
//
//   packed[first + (s rows + r) quads + q] = the four elements
//     source[origin + s / inner · outer_step + s % inner · inner_step + r · row_step
//       + (4 q + e) · column_step], e = 0…3; zeros past the last column
//
// source: the weights; packed: the results, one after the other; table: [weights, 3] vectors, of
// which one of the three holds what Packing says. A workgroup owns WORKGROUP_SIZE quads of one
// weight and overwrites them; neighbouring invocations take neighbouring s, then r, as weights lie.

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read> table: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> packed: array<vec4f>;

struct Params { weights: u32, groups: u32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

struct Packing {
  first_group: u32,
  first: u32,
  origin: u32,
  columns: u32,
  outer: u32,
  inner: u32,
  rows: u32,
  column_step: u32,
  outer_step: u32,
  inner_step: u32,
  row_step: u32,
}

fn packing_at(weight: u32) -> Packing {
  let a = table[3 * weight];
  let b = table[3 * weight + 1];
  let c = table[3 * weight + 2];
  return Packing(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x, c.y, c.z);
}

// The last weight whose first workgroup is not behind this one.
fn weight_of(group: u32) -> u32 {
  var low = 0u;
  var high = params.weights;
  while (high - low > 1) {
    let middle = (low + high) / 2;
    if (table[3 * middle].x <= group) { low = middle; } else { high = middle; }
  }
  return low;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn pack_weights(
  @builtin(workgroup_id) group_id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = group_id.y * groups.x + group_id.x;
  if (group >= params.groups) { return; }
  let p = packing_at(weight_of(group));
  let quads = (p.columns + 3) / 4;
  let slices = p.outer * p.inner;
  let i = (group - p.first_group) * WORKGROUP_SIZE + lane;
  if (i >= slices * p.rows * quads) { return; }
  let slice = i % slices;
  let row = i / slices % p.rows;
  let quad = i / (slices * p.rows);
  let column = quad * 4 + vec4u(0, 1, 2, 3);
  let inside = column < vec4u(p.columns);
  let start = p.origin + slice / p.inner * p.outer_step + slice % p.inner * p.inner_step +
    row * p.row_step;
  let at = start + select(vec4u(), column * p.column_step, inside);
  let values = vec4f(source[at.x], source[at.y], source[at.z], source[at.w]);
  packed[p.first + (slice * p.rows + row) * quads + quad] = select(vec4f(), values, inside);
}
