// Distance of features f to constant ones a, pixel by pixel (DAFormer, equations 6 and 7):
//   loss = √ Σ_c (f_c − a_c)²,   grad_c = (f_c − a_c) / loss, and 0 where the loss is 0,
// summed over the pixels whose mask is not zero and divided by their number.
//
// features, anchors, grad_features: [N, C, H, W]; mask: [N, H, W]; plane = H W; weight: the number
// of pixels that count.
// forward: one invocation owns one pair (Σ loss, weight) of terms [N, runs] and walks every runs-th
// pixel of its image. backward: one invocation owns one pixel of grad_features. Both overwrite.

// The mask may hold floats or integers, as only zero or not zero counts; the alias says so.
alias Word = u32;

@group(0) @binding(0) var<storage, read> features: array<f32>;
@group(0) @binding(1) var<storage, read> anchors: array<f32>;
@group(0) @binding(2) var<storage, read> mask: array<Word>;
@group(0) @binding(3) var<storage, read_write> terms: array<vec2f>;
@group(0) @binding(4) var<storage, read> grad_output: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_features: array<f32>;

struct Params { images: u32, channels: u32, plane: u32, runs: u32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

fn distance_at(first: u32) -> f32 {
  var sum = 0.0;
  for (var c = 0u; c < params.channels; c++) {
    let i = first + c * params.plane;
    let difference = features[i] - anchors[i];
    sum += difference * difference;
  }
  return sqrt(sum);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let run = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (run >= params.images * params.runs) { return; }
  let image = run / params.runs;
  var sum = vec2f(0);
  for (var pixel = run % params.runs; pixel < params.plane; pixel += params.runs) {
    if (mask[image * params.plane + pixel] != 0) {
      sum += vec2f(distance_at(image * params.channels * params.plane + pixel), 1);
    }
  }
  terms[run] = sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (pixel >= params.images * params.plane) { return; }
  let first = pixel / params.plane * params.channels * params.plane + pixel % params.plane;
  var factor = 0.0;
  if (mask[pixel] != 0) {
    let distance = distance_at(first);
    if (distance != 0) { factor = grad_output[0] / (weight[0] * distance); }
  }
  for (var c = 0u; c < params.channels; c++) {
    let i = first + c * params.plane;
    // Not 0 × what does not count, which may be infinite.
    grad_features[i] = select(0, factor * (features[i] - anchors[i]), factor != 0);
  }
}
