// Maps with numbers of their own for every plane; a plane is one channel of one image.
//
// multiply:  y = x * factor
// normalise: y = (x - center) * scale + shift, and 0 where that is negative and `relu` is 1
// gradient:  y = g * scale + (x - center) * slope + offset, where g is grad_output, or 0 where `relu`
//            is 1 and normalise gave 0
//
// x, grad_output, y: [N, C, H, W]; factor: [N, C]. coefficients = (center, scale, shift, unused) and
// slopes = (slope, offset): [N, C], or [1, C] where `rows_per_image` is 0 and images share them.
// Workgroup (i, c, n) owns block i of the plane of channel c in image n; an invocation owns RUN of its
// elements, `stride` apart as in elementwise.wgsl. All entries overwrite y.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read> coefficients: array<vec4f>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read> slopes: array<vec2f>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

struct Params { channels: u32, plane: u32, stride: u32, rows_per_image: u32, relu: u32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const RUN = 16u;

// First and last + 1 of an invocation's elements in the whole tensor.
fn range(group: vec3u, local: u32) -> vec2u {
  let start = (group.z * params.channels + group.y) * params.plane;
  let block = group.x * WORKGROUP_SIZE * RUN;
  let first = block + local * select(1, RUN, params.stride == 1);
  return start + vec2u(first, min(first + RUN * params.stride, params.plane));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn multiply(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = range(group, local);
  let plane_factor = factor[group.z * params.channels + group.y];
  for (var i = own.x; i < own.y; i += params.stride) { y[i] = x[i] * plane_factor; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn normalise(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = range(group, local);
  let c = coefficients[group.z * params.rows_per_image + group.y];
  for (var i = own.x; i < own.y; i += params.stride) {
    let value = (x[i] - c.x) * c.y + c.z;
    y[i] = select(value, 0, params.relu == 1 && value < 0);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn gradient(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let own = range(group, local);
  let c = coefficients[group.z * params.rows_per_image + group.y];
  let s = slopes[group.z * params.rows_per_image + group.y];
  for (var i = own.x; i < own.y; i += params.stride) {
    let centred = x[i] - c.x;
    let cut = params.relu == 1 && centred * c.y + c.z <= 0;
    y[i] = select(grad_output[i], 0, cut) * c.y + centred * s.x + s.y;
  }
}
