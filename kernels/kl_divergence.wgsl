// Kullback-Leibler divergence of q = softmax(scale logits) from constant targets t (equations 9,
// 12):
//   loss = Σ_k t_k (log t_k − log q_k),   grad_k = scale (q_k Σ_j t_j − t_k),
// summed over the pixels whose mask is not zero and divided by their number times `divisor`.
// A class with t_k = 0 adds nothing to the loss. With SOFTMAX_AS_LOG q_k stands in the place of its
// logarithm, as in the distillation of ProDA's released code, which then is no divergence:
//   loss = Σ_k t_k (log t_k − q_k),   grad_k = scale q_k (Σ_j t_j q_j − t_k).
//
// logits, targets, grad_logits: [N, K, H, W]; mask: [N, H, W]; plane = H W; weight: divisor times
// the number of pixels that count.
// forward: one invocation owns one pair (Σ loss, weight) of terms [N, runs] and walks every runs-th
// pixel of its image. backward: one invocation owns one pixel of grad_logits. Both overwrite.

// The mask may hold floats or integers, as only zero or not zero counts; the alias says so.
alias Word = u32;

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<f32>;
@group(0) @binding(2) var<storage, read> mask: array<Word>;
@group(0) @binding(3) var<storage, read_write> terms: array<vec2f>;
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_logits: array<f32>;

struct Params { images: u32, classes: u32, plane: u32, runs: u32, scale: f32, divisor: f32 }
@group(1) @binding(0) var<uniform> params: Params;

override SOFTMAX_AS_LOG: bool = false;

const WORKGROUP_SIZE = 64u;

// (largest, log Σ_k exp(scale logit_k − largest)) of one pixel, in one pass over the classes.
fn log_sum(first: u32) -> vec2f {
  var largest = params.scale * logits[first];
  var sum = 1.0;
  for (var k = 1u; k < params.classes; k++) {
    let logit = params.scale * logits[first + k * params.plane];
    let power = exp(-abs(logit - largest));
    sum = select(sum + power, sum * power + 1, logit > largest);
    largest = max(largest, logit);
  }
  return vec2f(largest, log(sum));
}

// By its bits, as compilers may assume that there is none.
fn is_nan(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

fn divergence(first: u32) -> f32 {
  let total = log_sum(first);
  var loss = 0.0;
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    let t = targets[i];
    let log_q = params.scale * logits[i] - total.x - total.y;
    if (t > 0 || is_nan(t)) { loss += t * (log(t) - select(log_q, exp(log_q), SOFTMAX_AS_LOG)); }
  }
  return loss;
}

// (q_k, −q_k ∂loss/∂q_k) of one element.
fn pull_of(i: u32, total: vec2f) -> vec2f {
  let q = exp(params.scale * logits[i] - total.x - total.y);
  return vec2f(q, targets[i] * select(1, q, SOFTMAX_AS_LOG));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let run = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (run >= params.images * params.runs) { return; }
  let image = run / params.runs;
  var sum = vec2f(0);
  for (var pixel = run % params.runs; pixel < params.plane; pixel += params.runs) {
    if (mask[image * params.plane + pixel] != 0) {
      let first = image * params.classes * params.plane + pixel;
      sum += vec2f(divergence(first), params.divisor);
    }
  }
  terms[run] = sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (pixel >= params.images * params.plane) { return; }
  let first = pixel / params.plane * params.classes * params.plane + pixel % params.plane;
  if (mask[pixel] == 0) {
    for (var k = 0u; k < params.classes; k++) { grad_logits[first + k * params.plane] = 0; }
    return;
  }
  let total = log_sum(first);
  var sum = 0.0;
  for (var k = 0u; k < params.classes; k++) { sum += pull_of(first + k * params.plane, total).y; }
  let factor = params.scale * grad_output[0] / weight[0];
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    let pull = pull_of(i, total);
    grad_logits[i] = factor * (pull.x * sum - pull.y);
  }
}
