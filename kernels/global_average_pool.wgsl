// Mean of every plane; a plane is one channel of one image.
//   forward:  y = Σ x / plane, in two passes: lane l of `lanes` adds every lanes-th element from l
//             on (sum), then one invocation adds the lanes (mean)
//   backward: grad_x = grad_y / plane, plus what it held where ACCUMULATE is true
//
// x, grad_x: [N, C, H, W]; y, grad_y: [N, C]; lane_sums: [N, C, lanes]; plane = H W; planes = N C.
// One invocation owns one element of lane_sums (sum) or y (mean), or one pixel of `run` planes of
// grad_x (backward), and overwrites what it owns, unless ACCUMULATE.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> lane_sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> grad_y: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_x: array<f32>;

struct Params { planes: u32, run: u32, plane: u32, lanes: u32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

override ACCUMULATE: bool = false;

fn flat_index(id: vec3u, groups: vec3u) -> u32 {
  return id.y * groups.x * WORKGROUP_SIZE + id.x;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn sum(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.planes * params.lanes) { return; }
  let start = i / params.lanes * params.plane;
  var total = 0.0;
  for (var k = i % params.lanes; k < params.plane; k += params.lanes) { total += x[start + k]; }
  lane_sums[i] = total;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn mean(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.planes) { return; }
  var total = 0.0;
  for (var lane = 0u; lane < params.lanes; lane++) { total += lane_sums[i * params.lanes + lane]; }
  y[i] = total / f32(params.plane);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = flat_index(id, groups);
  if (pixel >= params.plane) { return; }
  let end = min((id.z + 1) * params.run, params.planes);
  for (var plane = id.z * params.run; plane < end; plane++) {
    let i = plane * params.plane + pixel;
    var before = 0.0;
    if (ACCUMULATE) { before = grad_x[i]; }
    grad_x[i] = before + grad_y[plane] / f32(params.plane);
  }
}
