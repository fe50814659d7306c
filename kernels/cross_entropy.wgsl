// Cross entropy of p = softmax(logits) with hard labels y, plain and symmetric (equation 6):
//   loss = alpha (−log p_y) + beta R Σ_{k≠y} max(p_k, 1e-7),   R = −log 1e-4
//   grad_k = alpha (p_k − [k = y]) + beta R p_k ([k ≠ y] − Σ_{j≠y} p_j),
// the mean over the pixels that count: those with a label below K other than ignore_label. The term
// of beta is the cross entropy with p and the label exchanged, −Σ_k p_k log(one-hot_k), where the
// one-hot is clamped to at least 1e-4. Where a p_k is below 1e-7 its clamp cuts its gradient.
// In the entries …_weighted the loss of a pixel is first multiplied by its pixel_weight; the mean is
// divided by the number of pixels all the same.
//
// logits, grad_logits: [N, K, H, W]; labels, pixel_weights: [N, H, W]; plane = H W; weight: number of
// pixels that count.
// forward: one invocation owns one pair (Σ loss, pixels) of terms [N, runs] and walks every runs-th
// pixel of its image. backward: one invocation owns one pixel of grad_logits. All overwrite.

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> terms: array<vec2f>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read> weight: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_logits: array<f32>;
@group(0) @binding(6) var<storage, read> pixel_weights: array<f32>;

struct Params {
  images: u32,
  classes: u32,
  plane: u32,
  runs: u32,
  ignore_label: u32,
  alpha: f32,
  beta: f32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const MIN_PROBABILITY = 1e-7;
const REVERSE = 9.210340371976182; // −log 1e-4

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

fn log_probability(first: u32, k: u32, total: vec2f) -> f32 {
  return logits[first + k * params.plane] - total.x - total.y;
}

fn counts(label: u32) -> bool {
  return label < params.classes && label != params.ignore_label;
}

fn loss(first: u32, label: u32) -> f32 {
  let total = log_sum(first);
  let forward_loss = -params.alpha * log_probability(first, label, total);
  if (params.beta == 0) { return forward_loss; }
  var others = 0.0;
  for (var k = 0u; k < params.classes; k++) {
    let p = max(exp(log_probability(first, k, total)), MIN_PROBABILITY);
    others += select(p, 0, k == label);
  }
  return forward_loss + params.beta * REVERSE * others;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let run = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (run >= params.images * params.runs) { return; }
  let image = run / params.runs;
  var sum = vec2f(0);
  for (var pixel = run % params.runs; pixel < params.plane; pixel += params.runs) {
    let label = labels[image * params.plane + pixel];
    if (counts(label)) {
      sum += vec2f(loss(image * params.classes * params.plane + pixel, label), 1);
    }
  }
  terms[run] = sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward_weighted(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let run = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (run >= params.images * params.runs) { return; }
  let image = run / params.runs;
  var sum = vec2f(0);
  for (var pixel = run % params.runs; pixel < params.plane; pixel += params.runs) {
    let at = image * params.plane + pixel;
    let label = labels[at];
    if (counts(label)) {
      let own = loss(image * params.classes * params.plane + pixel, label);
      sum += vec2f(pixel_weights[at] * own, 1);
    }
  }
  terms[run] = sum;
}

// Writes the gradient of a pixel whose loss has the gradient `grad` before it is divided.
fn write_gradient(pixel: u32, grad: f32) {
  let first = pixel / params.plane * params.classes * params.plane + pixel % params.plane;
  let label = labels[pixel];
  if (!counts(label)) {
    for (var k = 0u; k < params.classes; k++) { grad_logits[first + k * params.plane] = 0; }
    return;
  }
  let total = log_sum(first);
  var others = 0.0;
  if (params.beta != 0) {
    for (var k = 0u; k < params.classes; k++) {
      let p = exp(log_probability(first, k, total));
      others += select(0, p, k != label && p >= MIN_PROBABILITY);
    }
  }
  let alpha = params.alpha * grad / weight[0];
  let beta = params.beta * REVERSE * grad / weight[0];
  for (var k = 0u; k < params.classes; k++) {
    let p = exp(log_probability(first, k, total));
    let hit = select(0.0, 1.0, k == label);
    let other = select(0.0, 1.0, k != label && p >= MIN_PROBABILITY);
    grad_logits[first + k * params.plane] = alpha * (p - hit) + beta * p * (other - others);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (pixel >= params.images * params.plane) { return; }
  write_gradient(pixel, grad_output[0]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward_weighted(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let pixel = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (pixel >= params.images * params.plane) { return; }
  write_gradient(pixel, grad_output[0] * pixel_weights[pixel]);
}
