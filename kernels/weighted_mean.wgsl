// Mean of weighted terms: mean = Σ sum_i / Σ weight_i, and 0 where the weights add up to 0.
//
// terms, folded: pairs (sum, weight); mean, weight: scalars.
// fold: invocation i owns folded[i] and adds terms i, i + width, i + 2 width, …; divide: its only
// invocation owns both scalars and adds all terms. Both overwrite. The order of every sum is fixed,
// so the same terms give the same bits.

@group(0) @binding(0) var<storage, read> terms: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> folded: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> mean: array<f32>;
@group(0) @binding(3) var<storage, read_write> weight: array<f32>;

struct Params { count: u32, width: u32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

fn sum_of_terms(first: u32, stride: u32) -> vec2f {
  var sum = vec2f(0);
  for (var i = first; i < params.count; i += stride) { sum += terms[i]; }
  return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn fold(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (i < params.width) { folded[i] = sum_of_terms(i, params.width); }
}

@compute @workgroup_size(1)
fn divide() {
  let sum = sum_of_terms(0, 1);
  mean[0] = select(0, sum.x / sum.y, sum.y > 0);
  weight[0] = sum.y;
}
