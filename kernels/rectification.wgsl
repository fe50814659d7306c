// Rectification of soft labels by the distances of features to prototypes (equations 2 and 3):
//   r_k = softmax_k(−d_k / temperature) p_k / Σ_j (the same), the label is argmax_k r_k, of equal
//   ones the first.
// It is computed as exp(log p_k − d_k / temperature) relative to its largest, in which the
// softmax's own sum cancels, so that no far class is lost to underflow.
// A pixel without a soft label (all p_k are 0: outside the view) and one whose largest r_k is below
// the threshold get ignore_label; the former has confidence 0 and r = 0.
// where_labelled: masked_k = probabilities_k Σ_j p_j, the probabilities where there is a soft label,
// whose sum is 1, and 0 where there is none. ids_where_labelled: the same of class ids [N, H, W],
// with ignore_label where there is none.
//
// soft_labels, distances, rectified, probabilities, masked: [N, K, H, W];
// labels, confidence (the largest r_k): [N, H, W];
// plane = H W; pixels = N H W. One invocation owns one pixel of the outputs and overwrites it.

@group(0) @binding(0) var<storage, read> soft_labels: array<f32>;
@group(0) @binding(1) var<storage, read> distances: array<f32>;
@group(0) @binding(2) var<storage, read_write> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> confidence: array<f32>;
@group(0) @binding(4) var<storage, read_write> rectified: array<f32>;
@group(0) @binding(5) var<storage, read> probabilities: array<f32>;
@group(0) @binding(6) var<storage, read_write> masked: array<f32>;
@group(0) @binding(7) var<storage, read> ids: array<u32>;

struct Params {
  pixels: u32,
  classes: u32,
  plane: u32,
  ignore_label: u32,
  temperature: f32,
  threshold: f32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

struct Best { label: u32, score: f32, sum: f32 }

fn first_of(pixel: u32) -> u32 {
  return pixel / params.plane * params.classes * params.plane + pixel % params.plane;
}

// log r_k but for the term that all classes of the pixel share; only where p_k > 0.
fn score_of(i: u32) -> f32 {
  return log(soft_labels[i]) - distances[i] / params.temperature;
}

// The class of the largest score, that score, and Σ_k exp(score_k − largest); the sum is 0 where no
// class has a soft label.
fn best_of(first: u32) -> Best {
  var best = Best(params.ignore_label, 0, 0);
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    if (soft_labels[i] > 0) {
      let score = score_of(i);
      if (best.sum == 0) {
        best = Best(k, score, 1);
      } else if (score > best.score) {
        best = Best(k, score, best.sum * exp(best.score - score) + 1);
      } else {
        best.sum += exp(score - best.score);
      }
    }
  }
  return best;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn denoise(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (pixel >= params.pixels) { return; }
  let best = best_of(first_of(pixel));
  let largest = select(1 / best.sum, 0, best.sum == 0);
  labels[pixel] = select(best.label, params.ignore_label, largest < params.threshold);
  confidence[pixel] = largest;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn rectify(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (pixel >= params.pixels) { return; }
  let first = first_of(pixel);
  let best = best_of(first);
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    rectified[i] = 0;
    if (soft_labels[i] > 0) { rectified[i] = exp(score_of(i) - best.score) / best.sum; }
  }
}

// Σ_k p_k: 1 where there is a soft label, else 0.
fn sum_of(first: u32) -> f32 {
  var sum = 0f;
  for (var k = 0u; k < params.classes; k++) { sum += soft_labels[first + k * params.plane]; }
  return sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn where_labelled(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let pixel = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (pixel >= params.pixels) { return; }
  let first = first_of(pixel);
  let sum = sum_of(first);
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    masked[i] = probabilities[i] * sum;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn ids_where_labelled(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let pixel = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (pixel >= params.pixels) { return; }
  labels[pixel] = select(params.ignore_label, ids[pixel], sum_of(first_of(pixel)) > 0);
}
