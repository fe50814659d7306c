// Max pooling over windows of kernel × kernel, `stride` apart, that may reach `padding` past x.
//   forward:  y[o] = the largest x in window o, and at[o] = its place in its plane of x; of equal
//             ones the first, and a NaN is larger than any number
//   backward: grad_x[i] = Σ grad_y[o] over the windows o that have at[o] = i; windows overlap, so
//             each input gathers from all that touch it, in a fixed order
//
// x, grad_x: [N, C, height, width]; y, at, grad_y: [N, C, output_height, output_width], taken as
// `planes` = N C planes. One invocation owns one pixel of `run` planes of y and at (forward) or of
// grad_x (backward) and overwrites them.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> at: array<u32>;
@group(0) @binding(3) var<storage, read> grad_y: array<f32>;
@group(0) @binding(4) var<storage, read> saved_at: array<u32>;
@group(0) @binding(5) var<storage, read_write> grad_x: array<f32>;

struct Params {
  planes: u32,
  run: u32,
  height: u32,
  width: u32,
  output_height: u32,
  output_width: u32,
  kernel: u32,
  stride: u32,
  padding: u32,
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

fn is_nan(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  let output_plane = params.output_height * params.output_width;
  if (pixel >= output_plane) { return; }
  let corner = vec2u(pixel % params.output_width, pixel / params.output_width) * params.stride;
  let first = max(corner, vec2u(params.padding)) - params.padding;
  let end = min(corner + params.kernel - params.padding, vec2u(params.width, params.height));
  let planes = planes_of(id);
  for (var plane = planes.x; plane < planes.y; plane++) {
    let start = plane * params.height * params.width;
    var best_at = first.y * params.width + first.x;
    var best = x[start + best_at];
    for (var row = first.y; row < end.y; row++) {
      for (var column = first.x; column < end.x; column++) {
        let i = row * params.width + column;
        let value = x[start + i];
        let larger = value > best || is_nan(value);
        best = select(best, value, larger);
        best_at = select(best_at, i, larger);
      }
    }
    y[plane * output_plane + pixel] = best;
    at[plane * output_plane + pixel] = best_at;
  }
}

// First and last + 1 of the windows along one axis that touch input i.
fn windows(i: u32, output_length: u32) -> vec2u {
  let reach = i + params.padding;
  let first = select(0, (reach - params.kernel) / params.stride + 1, reach >= params.kernel);
  return vec2u(first, min(reach / params.stride + 1, output_length));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  let input_plane = params.height * params.width;
  if (pixel >= input_plane) { return; }
  let columns = windows(pixel % params.width, params.output_width);
  let rows = windows(pixel / params.width, params.output_height);
  let planes = planes_of(id);
  for (var plane = planes.x; plane < planes.y; plane++) {
    let start = plane * params.output_height * params.output_width;
    var sum = 0.0;
    for (var row = rows.x; row < rows.y; row++) {
      for (var column = columns.x; column < columns.y; column++) {
        let o = start + row * params.output_width + column;
        sum += select(0, grad_y[o], saved_at[o] == pixel);
      }
    }
    grad_x[plane * input_plane + pixel] = sum;
  }
}
