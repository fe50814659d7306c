// One step of Adam (Kingma and Ba, 2015) with L2 weight decay, as PyTorch's. With g = grad +
// weight_decay * weight, share = 1 - beta and correction = 1 - beta^t after step t:
//   first += first_share (g - first); second += second_share (g² - second)
//   weight -= learning_rate * (first / first_correction) / (√(second / second_correction) + eps)
//
// weight, first, second, grad: any shape, all the same, `count` elements; corrections: 2 elements,
// 0 before the first step.
// advance: the only invocation moves both corrections by one step. step: an invocation owns RUN
// elements, `stride` apart as in elementwise.wgsl. Both update in place.

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read_write> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> first: array<f32>;
@group(0) @binding(3) var<storage, read_write> second: array<f32>;
@group(0) @binding(4) var<storage, read_write> corrections: array<f32>;

struct Params {
  count: u32,
  stride: u32,
  learning_rate: f32,
  first_share: f32,
  second_share: f32,
  eps: f32,
  weight_decay: f32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const RUN = 16u;

@compute @workgroup_size(1)
fn advance() {
  corrections[0] += params.first_share * (1 - corrections[0]);
  corrections[1] += params.second_share * (1 - corrections[1]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn step(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let block = (group.y * groups.x + group.x) * WORKGROUP_SIZE * RUN;
  let start = block + local * select(1, RUN, params.stride == 1);
  let end = min(start + RUN * params.stride, params.count);
  let rate = params.learning_rate / corrections[0];
  for (var i = start; i < end; i += params.stride) {
    let w = weight[i];
    let g = grad[i] + params.weight_decay * w;
    let m = first[i] + params.first_share * (g - first[i]);
    let v = second[i] + params.second_share * (g * g - second[i]);
    first[i] = m;
    second[i] = v;
    weight[i] = w - rate * m / (sqrt(v / corrections[1]) + params.eps);
  }
}
