// Resizing of planes, the corner pixels' centres on those of the input ("align corners").
//   forward:  y[o] = bilinear x at o · scale, scale = (length − 1) / (output_length − 1) per side
//   backward: grad_x[i] = Σ_o grad_y[o] hat(o_y · scale_y − i_y) hat(o_x · scale_x − i_x),
//             hat(d) = max(0, 1 − |d|); each input gathers from the outputs within one pixel
//   nearest:  resized_labels[o] = labels[⌊o · ratio⌋], ratio = length / output_length, computed in
//             32 bits as PyTorch's interpolate(mode="nearest") does
//
// x, grad_x: [N, C, height, width]; y, grad_y: [N, C, output_height, output_width], taken as
// `planes` = N C planes; labels, resized_labels: N planes likewise. One invocation owns one pixel
// of `run` planes of y, grad_x or resized_labels and overwrites them.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> grad_y: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_x: array<f32>;
@group(0) @binding(4) var<storage, read> labels: array<u32>;
@group(0) @binding(5) var<storage, read_write> resized_labels: array<u32>;

struct Params {
  planes: u32,
  run: u32,
  height: u32,
  width: u32,
  output_height: u32,
  output_width: u32,
  scale_y: f32,
  scale_x: f32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

// The pixel within a plane.
fn pixel_of(id: vec3u, groups: vec3u) -> u32 {
  return id.y * groups.x * WORKGROUP_SIZE + id.x;
}

// First and last + 1 of an invocation's planes.
fn planes_of(id: vec3u) -> vec2u {
  return vec2u(id.z * params.run, min((id.z + 1) * params.run, params.planes));
}

// The two inputs around an output along one axis, and how far it is on the way to the second.
struct Taps { low: u32, high: u32, share: f32 }

fn taps(o: u32, scale: f32, length: u32) -> Taps {
  let place = f32(o) * scale;
  let low = min(u32(place), length - 1);
  return Taps(low, min(low + 1, length - 1), place - f32(low));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  let output_plane = params.output_height * params.output_width;
  if (pixel >= output_plane) { return; }
  let across = taps(pixel % params.output_width, params.scale_x, params.width);
  let down = taps(pixel / params.output_width, params.scale_y, params.height);
  let planes = planes_of(id);
  for (var plane = planes.x; plane < planes.y; plane++) {
    let low = (plane * params.height + down.low) * params.width;
    let high = (plane * params.height + down.high) * params.width;
    let top = mix(x[low + across.low], x[low + across.high], across.share);
    let bottom = mix(x[high + across.low], x[high + across.high], across.share);
    y[plane * output_plane + pixel] = mix(top, bottom, down.share);
  }
}

// First and last + 1 of the outputs along one axis that may lie within one pixel of input i; the
// hat is 0 on those that do not. All of them where the scale is 0: then one side is a single pixel.
fn touching(i: u32, scale: f32, output_length: u32) -> vec2u {
  if (scale == 0) { return vec2u(0, output_length); }
  let first = max(f32(i) - 1, 0) / scale;
  let last = ceil((f32(i) + 1) / scale);
  return vec2u(u32(first), min(u32(last) + 1, output_length));
}

fn hat(o: u32, scale: f32, i: u32) -> f32 {
  return max(0, 1 - abs(f32(o) * scale - f32(i)));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  let input_plane = params.height * params.width;
  if (pixel >= input_plane) { return; }
  let column = pixel % params.width;
  let row = pixel / params.width;
  let columns = touching(column, params.scale_x, params.output_width);
  let rows = touching(row, params.scale_y, params.output_height);
  let planes = planes_of(id);
  for (var plane = planes.x; plane < planes.y; plane++) {
    var sum = 0.0;
    for (var o_y = rows.x; o_y < rows.y; o_y++) {
      var row_sum = 0.0;
      let row_start = (plane * params.output_height + o_y) * params.output_width;
      for (var o_x = columns.x; o_x < columns.y; o_x++) {
        row_sum += grad_y[row_start + o_x] * hat(o_x, params.scale_x, column);
      }
      sum += row_sum * hat(o_y, params.scale_y, row);
    }
    grad_x[plane * input_plane + pixel] = sum;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn nearest(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  let output_plane = params.output_height * params.output_width;
  if (pixel >= output_plane) { return; }
  let column = min(u32(f32(pixel % params.output_width) * params.scale_x), params.width - 1);
  let row = min(u32(f32(pixel / params.output_width) * params.scale_y), params.height - 1);
  let planes = planes_of(id);
  for (var plane = planes.x; plane < planes.y; plane++) {
    let i = (plane * params.height + row) * params.width + column;
    resized_labels[plane * output_plane + pixel] = labels[i];
  }
}
