// Regulariser towards the uniform distribution (equation 10), p = softmax(logits):
//   loss = −Σ_k log p_k,   grad_k = K p_k − 1,
// summed over all pixels and divided by their number times `divisor`.
//
// logits, grad_logits: [N, K, H, W]; plane = H W; weight: divisor times the number of pixels.
// forward: one invocation owns one pair (Σ loss, weight) of terms [N, runs] and walks every runs-th
// pixel of its image. backward: one invocation owns one pixel of grad_logits. Both overwrite.

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> terms: array<vec2f>;
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_logits: array<f32>;

struct Params { images: u32, classes: u32, plane: u32, runs: u32, divisor: f32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

// (largest, log Σ_k exp(logit_k − largest)) of one pixel, in one pass over the classes.
fn log_sum(first: u32) -> vec2f {
  var largest = logits[first];
  var sum = 1.0;
  for (var k = 1u; k < params.classes; k++) {
    let logit = logits[first + k * params.plane];
    let power = exp(-abs(logit - largest));
    sum = select(sum + power, sum * power + 1, logit > largest);
    largest = max(largest, logit);
  }
  return vec2f(largest, log(sum));
}

fn loss(first: u32) -> f32 {
  let total = log_sum(first);
  var sum = 0.0;
  for (var k = 0u; k < params.classes; k++) {
    sum += total.y - (logits[first + k * params.plane] - total.x);
  }
  return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let run = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (run >= params.images * params.runs) { return; }
  let image = run / params.runs;
  var sum = vec2f(0);
  for (var pixel = run % params.runs; pixel < params.plane; pixel += params.runs) {
    sum += vec2f(loss(image * params.classes * params.plane + pixel), params.divisor);
  }
  terms[run] = sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (pixel >= params.images * params.plane) { return; }
  let first = pixel / params.plane * params.classes * params.plane + pixel % params.plane;
  let total = log_sum(first);
  let factor = grad_output[0] / weight[0];
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    grad_logits[i] = factor * (f32(params.classes) * exp(logits[i] - total.x - total.y) - 1);
  }
}
