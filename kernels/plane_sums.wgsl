// Sums over planes, in two passes of fixed order, for CPU adapters; a plane is one channel of one
// image. On GPUs, sets.wgsl sums a plane in one pass.
//
// moments: (mean, Σ (x - mean)²)
// sums:    (Σ g, Σ g (x - centre)), where g is grad_output, or 0 where `relu` is 1 and the
//          normalisation (x - centre) * scale + shift was not positive
// dots:    Σ grad_output x
//
// x, grad_output: `planes` planes of a tensor [N, C, H, W], from plane `first` of it; coefficients
// = (centre, scale, shift, unused): a row for every plane of the tensor, or for every channel,
// where images share them. parts: [planes, lanes] pairs; totals: [planes] pairs; dot_totals:
// [planes].
// First pass: an invocation owns one pair of parts, over `chunk` neighbouring elements of a plane.
// Second pass: an invocation owns one pair of totals. Both overwrite.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> grad_output: array<f32>;
@group(0) @binding(2) var<storage, read> coefficients: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> parts: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> totals: array<vec2f>;
@group(0) @binding(5) var<storage, read_write> dot_totals: array<f32>;

struct Params {
  planes: u32,
  plane: u32,
  lanes: u32,
  chunk: u32,
  first: u32,
  rows: u32,
  relu: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

fn flat_index(id: vec3u, groups: vec3u) -> u32 {
  return id.y * groups.x * WORKGROUP_SIZE + id.x;
}

// First and last + 1 of a lane's elements within its plane.
fn range(lane: u32) -> vec2u {
  return vec2u(lane * params.chunk, min((lane + 1) * params.chunk, params.plane));
}

fn count(lane: u32) -> f32 {
  let own = range(lane);
  return f32(own.y - own.x);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn moments(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.planes * params.lanes) { return; }
  let start = i / params.lanes * params.plane;
  let own = start + range(i % params.lanes);
  // Relative to one of the summed numbers, Σ d² exceeds what remains of it at most n times, so one
  // pass loses at most the digits of n.
  let origin = x[own.x];
  var sum = 0.0;
  var squares = 0.0;
  for (var k = own.x; k < own.y; k++) {
    let d = x[k] - origin;
    sum += d;
    squares += d * d;
  }
  let n = count(i % params.lanes);
  parts[i] = vec2f(origin + sum / n, max(squares - sum * sum / n, 0));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn sums(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.planes * params.lanes) { return; }
  let plane = i / params.lanes;
  let own = plane * params.plane + range(i % params.lanes);
  let c = coefficients[(params.first + plane) % params.rows];
  var sum = vec2f(0);
  for (var k = own.x; k < own.y; k++) {
    let centred = x[k] - c.x;
    let cut = params.relu == 1 && centred * c.y + c.z <= 0;
    let g = select(grad_output[k], 0, cut);
    sum += vec2f(g, g * centred);
  }
  parts[i] = sum;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn dots(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.planes * params.lanes) { return; }
  let own = i / params.lanes * params.plane + range(i % params.lanes);
  var sum = 0.0;
  for (var k = own.x; k < own.y; k++) { sum += grad_output[k] * x[k]; }
  parts[i] = vec2f(sum, 0);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn total_moments(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.planes) { return; }
  // Chan, Golub and LeVeque (1979): merge means and squared deviations of sets of different sizes.
  var seen = 0.0;
  var total = vec2f(0);
  for (var lane = 0u; lane < params.lanes; lane++) {
    let part = parts[i * params.lanes + lane];
    let n = count(lane);
    let difference = part.x - total.x;
    let share = n / (seen + n);
    total += vec2f(difference * share, part.y + difference * difference * seen * share);
    seen += n;
  }
  totals[i] = total;
}

fn sum_of_parts(plane: u32) -> vec2f {
  var total = vec2f(0);
  for (var lane = 0u; lane < params.lanes; lane++) { total += parts[plane * params.lanes + lane]; }
  return total;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn total_sums(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.planes) { totals[i] = sum_of_parts(i); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn total_dots(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.planes) { dot_totals[i] = sum_of_parts(i).x; }
}
