// NT-Xent, the contrastive loss of SimCLR (Chen et al., 2020, equation 1), from the similarities of
// rows 0 to 2B − 1 of which i and partner(i) = (i + B) mod 2B are two views of the same thing:
//   loss_i = −s_{i, partner(i)} / τ + log Σ_{j ≠ i} exp(s_ij / τ),   loss = mean of loss_i
//   grad_ij = (exp(s_ij / τ) / Σ_{k ≠ i} exp(s_ik / τ) − [j = partner(i)]) / (2B τ),   0 for j = i
//
// similarities, grad_similarities: [rows, columns] from row `first` of [2B, 2B]; columns = 2B;
// scale = 1 / τ; log_sums: the logarithms above, [rows]; weight: 2B.
// forward: one invocation owns one pair (loss_i, 1) of terms and one of log_sums. backward: one
// invocation owns one element of grad_similarities. Both overwrite.

@group(0) @binding(0) var<storage, read> similarities: array<f32>;
@group(0) @binding(1) var<storage, read_write> terms: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> log_sums: array<f32>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read> saved_log_sums: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_similarities: array<f32>;

struct Params { rows: u32, columns: u32, first: u32, scale: f32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const LEAST = -3.4e38;

fn partner_of(row: u32) -> u32 {
  return (row + params.columns / 2) % params.columns;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (i >= params.rows) { return; }
  let row = params.first + i;
  let start = i * params.columns;
  var largest = LEAST;
  for (var j = 0u; j < params.columns; j++) {
    if (j != row) { largest = max(largest, params.scale * similarities[start + j]); }
  }
  var sum = 0.0;
  for (var j = 0u; j < params.columns; j++) {
    if (j != row) { sum += exp(params.scale * similarities[start + j] - largest); }
  }
  let log_sum = largest + log(sum);
  log_sums[i] = log_sum;
  terms[i] = vec2f(log_sum - params.scale * similarities[start + partner_of(row)], 1);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let at = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (at >= params.rows * params.columns) { return; }
  let i = at / params.columns;
  let row = params.first + i;
  let column = at % params.columns;
  let share = exp(params.scale * similarities[at] - saved_log_sums[i]);
  let pull = select(0.0, 1.0, column == partner_of(row));
  let factor = params.scale * grad_output[0] / weight[0];
  grad_similarities[at] = select(factor * (share - pull), 0, column == row);
}
