// Losses of a discriminator's scores x against one constant label t, the mean over all elements:
//   least squares:         loss = (x − t)²,                         grad = 2 (x − t)
//   binary cross entropy:  loss = max(x, 0) − x t + log(1 + e^−|x|), grad = 1 / (1 + e^−x) − t
// The second is −t log σ(x) − (1 − t) log(1 − σ(x)), written so that no exponential overflows.
//
// scores, grad_scores: [N, …], `plane` elements per image; weight: the number of all elements.
// forward: one invocation owns one pair (Σ loss, elements) of terms [N, runs] and walks every
// runs-th element of its image. backward: one invocation owns one element of grad_scores. Both
// overwrite.

@group(0) @binding(0) var<storage, read> scores: array<f32>;
@group(0) @binding(1) var<storage, read_write> terms: array<vec2f>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_scores: array<f32>;

struct Params { images: u32, plane: u32, runs: u32, label: f32 }
@group(1) @binding(0) var<uniform> params: Params;

override BINARY: bool = false;

const WORKGROUP_SIZE = 64u;

fn loss(x: f32) -> f32 {
  if (BINARY) { return max(x, 0) - x * params.label + log(1 + exp(-abs(x))); }
  return (x - params.label) * (x - params.label);
}

fn gradient(x: f32) -> f32 {
  if (BINARY) { return 1 / (1 + exp(-x)) - params.label; }
  return 2 * (x - params.label);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let run = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (run >= params.images * params.runs) { return; }
  let image = run / params.runs;
  var sum = vec2f(0);
  for (var i = run % params.runs; i < params.plane; i += params.runs) {
    sum += vec2f(loss(scores[image * params.plane + i]), 1);
  }
  terms[run] = sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (i >= params.images * params.plane) { return; }
  grad_scores[i] = gradient(scores[i]) * grad_output[0] / weight[0];
}
