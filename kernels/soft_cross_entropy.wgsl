// Cross entropy of p = softmax(logits) with constant soft labels y, plain and symmetric
// (equation 6):
//   loss = alpha Σ_k y_k (−log p_k) + beta Σ_k max(p_k, 1e-7) r_k,   r_k = −log max(y_k, 1e-4)
//   grad_k = alpha (p_k Σ_j y_j − y_k) + beta p_k (c_k r_k − Σ_j c_j p_j r_j),   c_k = [p_k ≥ 1e-7],
// the mean over the pixels that count: those whose hard label is not ignore_label. For y that are
// one-hot it is the loss of cross_entropy.wgsl. In the entries …_weighted the loss of a pixel is first
// multiplied by its pixel_weight; the mean is divided by the number of pixels all the same.
//
// logits, soft_labels, grad_logits: [N, K, H, W]; labels, pixel_weights: [N, H, W]; plane = H W;
// weight: number of pixels that count.
// forward: one invocation owns one pair (Σ loss, pixels) of terms [N, runs] and walks every runs-th
// pixel of its image. backward: one invocation owns one pixel of grad_logits. All overwrite.

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> soft_labels: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> terms: array<vec2f>;
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_logits: array<f32>;
@group(0) @binding(7) var<storage, read> pixel_weights: array<f32>;

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
const MIN_LABEL = 1e-4;

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

// r_k, what a probability of class k costs.
fn reverse_cost(i: u32) -> f32 {
  return -log(max(soft_labels[i], MIN_LABEL));
}

fn loss(first: u32) -> f32 {
  let total = log_sum(first);
  var sum = vec2f(0);
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    let log_p = logits[i] - total.x - total.y;
    sum += vec2f(-soft_labels[i] * log_p, max(exp(log_p), MIN_PROBABILITY) * reverse_cost(i));
  }
  return params.alpha * sum.x + params.beta * sum.y;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let run = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (run >= params.images * params.runs) { return; }
  let image = run / params.runs;
  var sum = vec2f(0);
  for (var pixel = run % params.runs; pixel < params.plane; pixel += params.runs) {
    if (labels[image * params.plane + pixel] != params.ignore_label) {
      sum += vec2f(loss(image * params.classes * params.plane + pixel), 1);
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
    if (labels[at] != params.ignore_label) {
      let own = loss(image * params.classes * params.plane + pixel);
      sum += vec2f(pixel_weights[at] * own, 1);
    }
  }
  terms[run] = sum;
}

// Writes the gradient of a pixel whose loss has the gradient `grad` before it is divided.
fn write_gradient(pixel: u32, grad: f32) {
  let first = pixel / params.plane * params.classes * params.plane + pixel % params.plane;
  if (labels[pixel] == params.ignore_label) {
    for (var k = 0u; k < params.classes; k++) { grad_logits[first + k * params.plane] = 0; }
    return;
  }
  let total = log_sum(first);
  var sum = vec2f(0); // (Σ_j y_j, Σ_j c_j p_j r_j)
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    let p = exp(logits[i] - total.x - total.y);
    sum += vec2f(soft_labels[i], select(0, p * reverse_cost(i), p >= MIN_PROBABILITY));
  }
  let alpha = params.alpha * grad / weight[0];
  let beta = params.beta * grad / weight[0];
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    let p = exp(logits[i] - total.x - total.y);
    let cost = select(0, reverse_cost(i), p >= MIN_PROBABILITY);
    grad_logits[i] = alpha * (p * sum.x - soft_labels[i]) + beta * p * (cost - sum.y);
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
