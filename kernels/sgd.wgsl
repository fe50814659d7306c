// One step of SGD with momentum and L2 weight decay, as PyTorch's:
//   velocity = momentum * velocity + grad + weight_decay * weight
//   weight -= learning_rate * velocity
// (PyTorch's first step sets velocity to the gradient, which is the same from a velocity of 0.)
//
// weight, velocity, grad: any shape, all the same, `count` elements.
// step_scaled: the same of gradients times the factor of loss_scale.wgsl's state; 0 leaves all as it
// is.
// One invocation owns RUN elements, `stride` apart as in elementwise.wgsl, and updates them in
// place.

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read_write> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> velocity: array<f32>;
@group(0) @binding(3) var<storage, read> scaling: array<f32>;

struct Params { count: u32, stride: u32, learning_rate: f32, momentum: f32, weight_decay: f32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const RUN = 16u;

// The elements of an invocation: the first, and what lies past the last.
fn range_of(group: vec3u, groups: vec3u, local: u32) -> vec2u {
  let block = (group.y * groups.x + group.x) * WORKGROUP_SIZE * RUN;
  let first = block + local * select(1, RUN, params.stride == 1);
  return vec2u(first, min(first + RUN * params.stride, params.count));
}

fn update(i: u32, gradient: f32) {
  let w = weight[i];
  let v = params.momentum * velocity[i] + gradient + params.weight_decay * w;
  velocity[i] = v;
  weight[i] = w - params.learning_rate * v;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn step(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let own = range_of(group, groups, local);
  for (var i = own.x; i < own.y; i += params.stride) { update(i, grad[i]); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn step_scaled(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let factor = scaling[2];
  if (factor == 0) { return; }
  let own = range_of(group, groups, local);
  for (var i = own.x; i < own.y; i += params.stride) { update(i, grad[i] * factor); }
}
