// Maps with numbers of their own for every plane; a plane is one channel of one image.
//
// multiply:  y = x * factor
// normalise: y = (x - centre) * scale + shift, plus residual where WITH_RESIDUAL is 1, and 0 where
//            that is negative and `relu` is 1
// gradient:  y = g * scale + (x - centre) * slope + offset, where g is grad_output, or 0 where
//            `relu` is 1 and normalise gave 0
//
// x, residual, grad_output, y: `planes` planes of a tensor [N, C, H, W], from plane `first` of it.
// A row for every plane of the tensor, or for every channel, where images share them: factor;
// coefficients = (centre, scale, shift, unused); slopes = (slope, offset).
// An invocation owns `run` elements of a plane, of which there are `lanes` invocations: neighbours
// in memory where `stride` is 1 (CPU adapters), else `stride` apart, so that neighbouring
// invocations touch neighbouring elements (GPUs), and loads four of them before it uses the first.
// All entries overwrite y.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read> coefficients: array<vec4f>;
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;
@group(0) @binding(4) var<storage, read> slopes: array<vec2f>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read> residual: array<f32>;

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

override WITH_RESIDUAL: u32 = 0;

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
  let step = params.stride;
  var i = own.first;
  for (; i + 3 * step < own.end; i += 4 * step) {
    let four = vec4f(x[i], x[i + step], x[i + 2 * step], x[i + 3 * step]) * plane_factor;
    y[i] = four.x;
    y[i + step] = four.y;
    y[i + 2 * step] = four.z;
    y[i + 3 * step] = four.w;
  }
  for (; i < own.end; i += step) { y[i] = x[i] * plane_factor; }
}

// By its bits, as compilers may assume that there is none.
fn is_nan(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

fn normalised(value: f32, added: f32, c: vec4f) -> f32 {
  var result = (value - c.x) * c.y + c.z;
  if (WITH_RESIDUAL == 1) { result += added; }
  return select(result, 0, params.relu == 1 && result < 0 && !is_nan(result));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn normalise(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let own = share_of(id, groups);
  let c = coefficients[own.row];
  let step = params.stride;
  var i = own.first;
  for (; i + 3 * step < own.end; i += 4 * step) {
    let four = vec4f(x[i], x[i + step], x[i + 2 * step], x[i + 3 * step]);
    var added = vec4f(0);
    if (WITH_RESIDUAL == 1) {
      added = vec4f(
        residual[i],
        residual[i + step],
        residual[i + 2 * step],
        residual[i + 3 * step],
      );
    }
    y[i] = normalised(four.x, added.x, c);
    y[i + step] = normalised(four.y, added.y, c);
    y[i + 2 * step] = normalised(four.z, added.z, c);
    y[i + 3 * step] = normalised(four.w, added.w, c);
  }
  for (; i < own.end; i += step) {
    var added = 0.0;
    if (WITH_RESIDUAL == 1) { added = residual[i]; }
    y[i] = normalised(x[i], added, c);
  }
}

fn input_gradient(value: f32, gradient: f32, c: vec4f, s: vec2f) -> f32 {
  let centred = value - c.x;
  let cut = params.relu == 1 && centred * c.y + c.z <= 0;
  return select(gradient, 0, cut) * c.y + centred * s.x + s.y;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn gradient(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let own = share_of(id, groups);
  let c = coefficients[own.row];
  let s = slopes[own.row];
  let step = params.stride;
  var i = own.first;
  for (; i + 3 * step < own.end; i += 4 * step) {
    let four = vec4f(x[i], x[i + step], x[i + 2 * step], x[i + 3 * step]);
    let g = vec4f(
      grad_output[i],
      grad_output[i + step],
      grad_output[i + 2 * step],
      grad_output[i + 3 * step],
    );
    y[i] = input_gradient(four.x, g.x, c, s);
    y[i + step] = input_gradient(four.y, g.y, c, s);
    y[i + 2 * step] = input_gradient(four.z, g.z, c, s);
    y[i + 3 * step] = input_gradient(four.w, g.w, c, s);
  }
  for (; i < own.end; i += step) { y[i] = input_gradient(x[i], grad_output[i], c, s); }
}
