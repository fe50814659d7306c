// Maps with numbers of their own for every plane; a plane is one channel of one image.
//
// multiply:  y = x * factor
// normalise: y = (x - centre) * scale + shift, and 0 where that is negative and `relu` is 1
// gradient:  y = g * scale + (x - centre) * slope + offset, where g is grad_output, or 0 where
//            `relu` is 1 and normalise gave 0
//
// x, grad_output, y: `planes` planes of a tensor [N, C, H, W], from plane `first` of it. A row for
// every plane of the tensor, or for every channel, where images share them: factor; coefficients =
// (centre, scale, shift, unused); slopes = (slope, offset).
// An invocation owns `run` elements of a plane, of which there are `lanes` invocations: neighbours
// in memory where `stride` is 1 (CPU adapters), else `stride` apart, so that neighbouring
// invocations touch neighbouring elements (GPUs). All entries overwrite y.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read> coefficients: array<vec4f>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read> slopes: array<vec2f>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

struct Params {
  planes: u32,
  plane: u32,
  lanes: u32,
  run: u32,
  stride: u32,
  first: u32,
  rows: u32,
  relu: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

struct Share {
  row: u32, // of the plane
  first: u32, // element of x
  end: u32,
}

// What one invocation owns; empty past the last plane.
fn share_of(id: vec3u, groups: vec3u) -> Share {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let plane = i / params.lanes;
  let row = (params.first + plane) % params.rows;
  if (plane >= params.planes) { return Share(row, 0, 0); }
  let lane = i % params.lanes;
  let first = lane / params.stride * params.stride * params.run + lane % params.stride;
  let end = min(first + params.run * params.stride, params.plane);
  return Share(row, plane * params.plane + first, plane * params.plane + end);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn multiply(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let own = share_of(id, groups);
  let plane_factor = factor[own.row];
  for (var i = own.first; i < own.end; i += params.stride) { y[i] = x[i] * plane_factor; }
}

// By its bits, as compilers may assume that there is none.
fn is_nan(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn normalise(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let own = share_of(id, groups);
  let c = coefficients[own.row];
  for (var i = own.first; i < own.end; i += params.stride) {
    let value = (x[i] - c.x) * c.y + c.z;
    y[i] = select(value, 0, params.relu == 1 && value < 0 && !is_nan(value));
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn gradient(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let own = share_of(id, groups);
  let c = coefficients[own.row];
  let s = slopes[own.row];
  for (var i = own.first; i < own.end; i += params.stride) {
    let centred = x[i] - c.x;
    let cut = params.relu == 1 && centred * c.y + c.z <= 0;
    y[i] = select(grad_output[i], 0, cut) * c.y + centred * s.x + s.y;
  }
}
