// Rows of length 1: y = x / max(‖x‖₂, least), as PyTorch's normalize.
//   backward: grad_x = (grad_y − y Σ grad_y y) / ‖x‖₂, and grad_y / least for shorter rows
//
// All arrays [rows, columns]. One invocation owns one row of the output and overwrites it.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> grad_y: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_x: array<f32>;

struct Params { rows: u32, columns: u32, least: f32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

fn length_of(start: u32) -> f32 {
  var squares = 0.0;
  for (var k = 0u; k < params.columns; k++) { squares += x[start + k] * x[start + k]; }
  return sqrt(squares);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (row >= params.rows) { return; }
  let start = row * params.columns;
  let factor = 1 / max(length_of(start), params.least);
  for (var k = 0u; k < params.columns; k++) { y[start + k] = factor * x[start + k]; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (row >= params.rows) { return; }
  let start = row * params.columns;
  let length = length_of(start);
  let factor = 1 / max(length, params.least);
  // Along the row nothing changes, unless it is so short that only its divisor is constant.
  var along = 0.0;
  if (length > params.least) {
    for (var k = 0u; k < params.columns; k++) { along += grad_y[start + k] * x[start + k]; }
    along *= factor * factor;
  }
  for (var k = 0u; k < params.columns; k++) {
    grad_x[start + k] = factor * (grad_y[start + k] - along * x[start + k]);
  }
}
