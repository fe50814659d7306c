// Sum of all elements, and its gradient.
//
// sum_runs:  y[i] = Σ x[k] over run i of RUN neighbouring elements; repeated until one is left
// broadcast: y[i] = x[0] * factor
//
// x: any shape, `count` elements (one for broadcast); y: ceil(count / RUN) elements, or `count` for
// broadcast. An invocation owns one element of y and overwrites it.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

struct Params { count: u32, factor: f32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const RUN = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn sum_runs(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (i * RUN >= params.count) { return; }
  var sum = 0.0;
  for (var k = i * RUN; k < min((i + 1) * RUN, params.count); k++) { sum += x[k]; }
  y[i] = sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn broadcast(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (i < params.count) { y[i] = x[0] * params.factor; }
}
