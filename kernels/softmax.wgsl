// Softmax over channels at every pixel, y_k = exp(scale x_k) / Σ_j exp(scale x_j), and its
// logarithm.
//   backward:     grad_x_k = scale y_k (grad_y_k − Σ_j grad_y_j y_j)
//   log_backward: grad_x_k = scale (grad_y_k − exp(log y_k) Σ_j grad_y_j), with log y in saved_y
//
// All arrays [N, K, H, W]; plane = H W; pixels = N H W.
// One invocation owns the K elements of one pixel of the output and overwrites them.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> grad_y: array<f32>;
@group(0) @binding(3) var<storage, read> saved_y: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_x: array<f32>;

struct Params { pixels: u32, classes: u32, plane: u32, scale: f32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

fn flat_index(id: vec3u, groups: vec3u) -> u32 {
  return id.y * groups.x * WORKGROUP_SIZE + id.x;
}

// Where the first class of a pixel lies; the next follow at distance plane.
fn first_of(pixel: u32) -> u32 {
  return pixel / params.plane * params.classes * params.plane + pixel % params.plane;
}

// (largest, Σ_k exp(scale x_k − largest)) of one pixel, in one pass over the classes.
fn sum_of_powers(first: u32) -> vec2f {
  var largest = params.scale * x[first];
  var sum = 1.0;
  for (var k = 1u; k < params.classes; k++) {
    let value = params.scale * x[first + k * params.plane];
    let power = exp(-abs(value - largest));
    sum = select(sum + power, sum * power + 1, value > largest);
    largest = max(largest, value);
  }
  return vec2f(largest, sum);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = flat_index(id, groups);
  if (pixel >= params.pixels) { return; }
  let first = first_of(pixel);
  let total = sum_of_powers(first);
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    y[i] = exp(params.scale * x[i] - total.x) / total.y;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn log_forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = flat_index(id, groups);
  if (pixel >= params.pixels) { return; }
  let first = first_of(pixel);
  let total = sum_of_powers(first);
  let log_sum = log(total.y);
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    y[i] = params.scale * x[i] - total.x - log_sum;
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = flat_index(id, groups);
  if (pixel >= params.pixels) { return; }
  let first = first_of(pixel);
  var dot = 0.0;
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    dot += grad_y[i] * saved_y[i];
  }
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    grad_x[i] = params.scale * saved_y[i] * (grad_y[i] - dot);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn log_backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = flat_index(id, groups);
  if (pixel >= params.pixels) { return; }
  let first = first_of(pixel);
  var sum = 0.0;
  for (var k = 0u; k < params.classes; k++) { sum += grad_y[first + k * params.plane]; }
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    grad_x[i] = params.scale * (grad_y[i] - exp(saved_y[i]) * sum);
  }
}
