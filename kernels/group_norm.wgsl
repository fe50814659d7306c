// Group normalisation (Wu and He, 2018): the numbers of each plane; plane_maps.wgsl and
// plane_sums.wgsl do the passes over whole tensors. On GPUs, sets.wgsl does all but affine at once.
//
// y = (x - mean) * weight * deviation + bias, deviation = 1 / sqrt(variance + eps), mean and
// variance (biased) over the channels of one group of one image.
// backward: with w = weight, M = channels per group * H W and sums over the group,
//           grad_x = deviation (w g - Σ w g / M - (x - mean) deviation² Σ w g (x - mean) / M)
//           as g * scale + (x - mean) * slope + offset
// affine:   grad_bias = Σ g, grad_weight = Σ deviation g (x - mean), over images and planes
//
// moments, sums: [N, C] pairs of plane_sums; weight, bias, grad_*: [C]; coefficients =
// (mean, scale, bias, deviation), slopes = (slope, offset): [N, C].
// forward, backward: an invocation owns one group of one image; affine: one channel. All overwrite,
// but affine adds to grad_weight and grad_bias where bit 0 and bit 1 of `accumulate` are set.

@group(0) @binding(0) var<storage, read> moments: array<vec2f>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> coefficients: array<vec4f>;
@group(0) @binding(4) var<storage, read> sums: array<vec2f>;
@group(0) @binding(5) var<storage, read_write> slopes: array<vec2f>;
@group(0) @binding(6) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(7) var<storage, read_write> grad_bias: array<f32>;

struct Params {
  images: u32,
  channels: u32,
  plane: u32,
  groups: u32,
  accumulate: u32,
  eps: f32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.images * params.groups) { return; }
  let width = params.channels / params.groups;
  let first = id.x * width; // groups of an image follow each other, so this is its first plane
  // All planes have the same size, so the mean is that of their means.
  var mean = 0.0;
  for (var k = 0u; k < width; k++) { mean += moments[first + k].x; }
  mean /= f32(width);
  let plane = f32(params.plane);
  var squares = 0.0;
  for (var k = 0u; k < width; k++) {
    let part = moments[first + k];
    squares += part.y + plane * (part.x - mean) * (part.x - mean);
  }
  let deviation = 1 / sqrt(squares / (plane * f32(width)) + params.eps);
  for (var k = 0u; k < width; k++) {
    let c = (first + k) % params.channels;
    coefficients[first + k] = vec4f(mean, weight[c] * deviation, bias[c], deviation);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.images * params.groups) { return; }
  let width = params.channels / params.groups;
  let first = id.x * width;
  var sum = vec2f(0);
  for (var k = 0u; k < width; k++) {
    sum += weight[(first + k) % params.channels] * sums[first + k];
  }
  let deviation = coefficients[first].w;
  let share = 1 / (f32(width) * f32(params.plane));
  let slope = -share * deviation * vec2f(deviation * deviation * sum.y, sum.x);
  for (var k = 0u; k < width; k++) { slopes[first + k] = slope; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn affine(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  if (c >= params.channels) { return; }
  var sum = vec2f(0);
  for (var n = 0u; n < params.images; n++) {
    let i = n * params.channels + c;
    sum += sums[i] * vec2f(1, coefficients[i].w);
  }
  var before = vec2f(0);
  if ((params.accumulate & 1) == 1) { before.x = grad_weight[c]; }
  if ((params.accumulate & 2) == 2) { before.y = grad_bias[c]; }
  grad_weight[c] = before.x + sum.y;
  grad_bias[c] = before.y + sum.x;
}
