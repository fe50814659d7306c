// Batch normalisation (Ioffe and Szegedy, 2015): the numbers of each channel; plane_maps.wgsl and
// plane_sums.wgsl do the passes over whole tensors. On GPUs, sets.wgsl does all of it at once.
//
// y = (x - mean) * scale + bias, scale = weight * deviation, deviation = 1 / sqrt(variance + eps)
// from_batch:   mean and variance (biased) of the batch; moves the running ones by `momentum`,
//               their variance unbiased
// from_running: the running mean and variance
// about_running, from_totals: from_batch in two parts, for batches that several devices see a part of:
//               totals = (Σ d, Σ d²), d = x - running mean, are added up over the devices in between;
//               the variance loses the digits of (mean - running mean)² / variance
// total_sums:   the sums of all images, for the same
// backward:     grad_bias = Σ g, grad_weight = deviation Σ g (x - mean); and from batch statistics
//               grad_x = scale (g - Σ g / M - (x - mean) deviation² Σ g (x - mean) / M), M = N H W,
//               as g * scale + (x - mean) * slope + offset
//
// moments, sums: [N, C] pairs of plane_sums; totals: [C] pairs; weight, bias, running_*, grad_*: [C]; coefficients =
// (mean, scale, bias, deviation), slopes = (slope, offset): [C]. An invocation owns one channel and
// overwrites what it writes, except that it moves the running statistics in place, and adds to
// grad_weight and grad_bias where bit 0 and bit 1 of `accumulate` are set.

@group(0) @binding(0) var<storage, read> moments: array<vec2f>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> running_variance: array<f32>;
@group(0) @binding(5) var<storage, read_write> coefficients: array<vec4f>;
@group(0) @binding(6) var<storage, read> sums: array<vec2f>;
@group(0) @binding(7) var<storage, read_write> slopes: array<vec2f>;
@group(0) @binding(8) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(9) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(10) var<storage, read_write> totals: array<vec2f>;

struct Params {
  images: u32,
  channels: u32,
  plane: u32,
  batch: u32,
  accumulate: u32,
  momentum: f32,
  eps: f32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

fn set_coefficients(c: u32, mean: f32, variance: f32) {
  let deviation = 1 / sqrt(variance + params.eps);
  coefficients[c] = vec4f(mean, weight[c] * deviation, bias[c], deviation);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn from_batch(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  // All planes have the same size, so the mean is that of their means.
  var mean = 0.0;
  for (var n = 0u; n < params.images; n++) { mean += moments[n * params.channels + c].x; }
  mean /= f32(params.images);
  let plane = f32(params.plane);
  var squares = 0.0;
  for (var n = 0u; n < params.images; n++) {
    let part = moments[n * params.channels + c];
    squares += part.y + plane * (part.x - mean) * (part.x - mean);
  }
  let count = plane * f32(params.images);
  set_coefficients(c, mean, squares / count);
  running_mean[c] += params.momentum * (mean - running_mean[c]);
  running_variance[c] += params.momentum * (squares / (count - 1) - running_variance[c]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn about_running(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  let plane = f32(params.plane);
  var total = vec2f(0);
  for (var n = 0u; n < params.images; n++) {
    let part = moments[n * params.channels + c];
    let d = part.x - running_mean[c];
    total += vec2f(plane * d, part.y + plane * d * d);
  }
  totals[c] = total;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn from_totals(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  let count = f32(params.plane) * f32(params.images);
  let d = totals[c].x / count;
  let squares = max(totals[c].y - totals[c].x * d, 0);
  set_coefficients(c, running_mean[c] + d, squares / count);
  running_mean[c] += params.momentum * d;
  running_variance[c] += params.momentum * (squares / (count - 1) - running_variance[c]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn from_running(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c < params.channels) { set_coefficients(c, running_mean[c], running_variance[c]); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn total_sums(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  var total = vec2f(0);
  for (var n = 0u; n < params.images; n++) { total += sums[n * params.channels + c]; }
  totals[c] = total;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  var sum = vec2f(0);
  for (var n = 0u; n < params.images; n++) { sum += sums[n * params.channels + c]; }
  let scale = coefficients[c].y;
  let deviation = coefficients[c].w;
  var before = vec2f(0);
  if ((params.accumulate & 1) == 1) { before.x = grad_weight[c]; }
  if ((params.accumulate & 2) == 2) { before.y = grad_bias[c]; }
  grad_weight[c] = before.x + sum.y * deviation;
  grad_bias[c] = before.y + sum.x;
  let share = f32(params.batch) / (f32(params.images) * f32(params.plane));
  slopes[c] = -share * scale * vec2f(deviation * deviation * sum.y, sum.x);
}
