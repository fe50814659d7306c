// Sums over sets of planes, and normalisations by them, with one workgroup a set: for GPUs, where
// a dispatch is dear. A plane is one channel of one image. A set is a channel of all images (batch
// norm), a group of channels of one image (group norm), or one plane; formulas of the
// normalisations are in batch_norm.wgsl and group_norm.wgsl.
//
// batch_forward:  coefficients, y = (x - mean) * scale + bias [+ residual, where WITH_RESIDUAL is
//                 1], and 0 where that is negative and `relu` is 1; from the batch, which moves the
//                 running statistics, or from those, where `batch` is 0
// group_forward:  the same from each group, without running statistics
// batch_backward: grad_weight, grad_bias, and as y the gradient to x, of grad_output, or 0 where
//                 `relu` is 1 and the forward gave 0
// batch_backward_residual: the same of `masked`, which holds grad_output and becomes the gradient
//                 to the residual: 0 where `signs`, the forward's output, is not positive
// group_backward: totals (Σ g, Σ g (x - mean)) of every plane, and as y the gradient to x
// plane_moments:  totals (mean, Σ (x - mean)²); plane_sums: totals (Σ g, Σ g (x - centre));
// plane_dots:     values Σ grad_output x; plane_means: values Σ x / plane
//
// x, residual, y, grad_output, masked, signs: `planes` planes of [N, C, ...], from plane `first` of
// it; weight, bias, running_*, grad_weight, grad_bias: [C]; coefficients = (centre, scale, shift,
// deviation): `rows` of them, [N C] or [C], where images share them; totals, values: [planes].
// A workgroup owns a set and overwrites what it writes; grad_weight and grad_bias are added to
// where bit 0 and bit 1 of `accumulate` are set. Within it, `lanes` invocations share a plane, and
// every one loads eight elements before it uses the first. All sums are trees of a fixed shape.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> residual: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> running_variance: array<f32>;
@group(0) @binding(6) var<storage, read_write> coefficients: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<storage, read> grad_output: array<f32>;
@group(0) @binding(9) var<storage, read_write> masked: array<f32>;
@group(0) @binding(10) var<storage, read> signs: array<f32>;
@group(0) @binding(11) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(12) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(13) var<storage, read_write> totals: array<vec2f>;
@group(0) @binding(14) var<storage, read_write> values: array<f32>;

struct Params {
  sets: u32,
  set_step: u32, // from the first plane of a set to that of the next
  parts: u32, // planes of a set
  part_step: u32, // from one of them to the next
  plane: u32, // elements of a plane
  lanes: u32, // invocations that share a plane: a power of two
  channels: u32,
  first: u32,
  rows: u32,
  relu: u32,
  batch: u32,
  accumulate: u32,
  momentum: f32,
  eps: f32,
  zero: f32, // is 0, but compilers do not know, so NaN times it is NaN
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 256u;

override WITH_RESIDUAL: u32 = 0;

var<workgroup> moments: array<vec3f, WORKGROUP_SIZE>; // (count, mean, Σ (x - mean)²)
var<workgroup> sums: array<vec2f, WORKGROUP_SIZE>;

fn set_of(group: vec3u, groups: vec3u) -> u32 { return group.y * groups.x + group.x; }

fn plane_of(index: u32, part: u32) -> u32 {
  return index * params.set_step + part * params.part_step;
}

// The planes of a set that are gone through at the same time.
fn planes_at_once() -> u32 { return WORKGROUP_SIZE / params.lanes; }

// Places in a plane of four elements that an invocation takes; some may lie behind it.
fn four_from(k: u32) -> vec4u { return k + vec4u(0, 1, 2, 3) * params.lanes; }

// The same in the tensor, all of them inside the plane.
fn elements(plane: u32, at: vec4u) -> vec4u {
  return plane * params.plane + min(at, vec4u(params.plane - 1));
}

fn load_x(i: vec4u) -> vec4f { return vec4f(x[i.x], x[i.y], x[i.z], x[i.w]); }

fn load_grad(i: vec4u) -> vec4f {
  return vec4f(grad_output[i.x], grad_output[i.y], grad_output[i.z], grad_output[i.w]);
}

fn store_y(i: vec4u, at: vec4u, value: vec4f) {
  if (at.x < params.plane) { y[i.x] = value.x; }
  if (at.y < params.plane) { y[i.y] = value.y; }
  if (at.z < params.plane) { y[i.z] = value.z; }
  if (at.w < params.plane) { y[i.w] = value.w; }
}

fn load_masked(i: vec4u) -> vec4f {
  return vec4f(masked[i.x], masked[i.y], masked[i.z], masked[i.w]);
}

fn store_masked(i: vec4u, at: vec4u, value: vec4f) {
  if (at.x < params.plane) { masked[i.x] = value.x; }
  if (at.y < params.plane) { masked[i.y] = value.y; }
  if (at.z < params.plane) { masked[i.z] = value.z; }
  if (at.w < params.plane) { masked[i.w] = value.w; }
}

// A gradient as far as the ReLU let it through, by the forward's output.
fn mask(gradient: vec4f, i: vec4u) -> vec4f {
  let through = vec4f(signs[i.x], signs[i.y], signs[i.z], signs[i.w]) > vec4f(0);
  return select(gradient * params.zero, gradient, through);
}

// By its bits, as compilers may assume that there is none.
fn is_nan(value: vec4f) -> vec4<bool> {
  return (bitcast<vec4u>(value) & vec4u(0x7fffffff)) > vec4u(0x7f800000);
}

// Chan, Golub and LeVeque (1979): merge means and squared deviations of sets of different sizes.
fn merge(a: vec3f, b: vec3f) -> vec3f {
  let n = a.x + b.x;
  let difference = b.y - a.y;
  let share = b.x / max(n, 1);
  return vec3f(n, a.y + difference * share, a.z + b.z + difference * difference * a.x * share);
}

// Mean and sum of squared deviations of a set.
fn moments_of(index: u32, local: u32) -> vec2f {
  let lane = local % params.lanes;
  let row = local / params.lanes;
  let step = planes_at_once();
  // Relative to one of the summed numbers, Σ d² exceeds what remains of it at most n times, so one
  // pass loses at most the digits of the few that an invocation sums.
  let origin = x[elements(plane_of(index, min(row, params.parts - 1)), vec4u(lane)).x];
  var sum = vec4f(0);
  var squares = vec4f(0);
  for (var part = row; part < params.parts; part += step) {
    let plane = plane_of(index, part);
    for (var k = lane; k < params.plane; k += 8 * params.lanes) {
      let at = four_from(k);
      let next = four_from(k + 4 * params.lanes);
      let values = load_x(elements(plane, at));
      let more = load_x(elements(plane, next));
      let d = select(vec4f(0), values - origin, at < vec4u(params.plane));
      let e = select(vec4f(0), more - origin, next < vec4u(params.plane));
      sum += d + e;
      squares += d * d + e * e;
    }
  }
  let n = f32((params.parts + step - 1 - row) / step) *
    f32((params.plane + params.lanes - 1 - lane) / params.lanes);
  let mean = dot(sum, vec4f(1)) / max(n, 1);
  let deviations = max(dot(squares, vec4f(1)) - n * mean * mean, 0);
  moments[local] = vec3f(n, origin + mean, deviations);
  for (var half = WORKGROUP_SIZE / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (local < half) { moments[local] = merge(moments[local], moments[local + half]); }
  }
  workgroupBarrier();
  return moments[0].yz;
}

// Adds the numbers of every `span` neighbouring invocations, a power of two, to the first of them.
fn fold(value: vec2f, local: u32, span: u32) {
  sums[local] = value;
  for (var half = span / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (local % span < half) { sums[local] += sums[local + half]; }
  }
  workgroupBarrier();
}

fn total(value: vec2f, local: u32) -> vec2f {
  fold(value, local, WORKGROUP_SIZE);
  return sums[0];
}

// The gradient as far as the ReLU let it through.
fn passed(gradient: vec4f, centred: vec4f, c: vec4f) -> vec4f {
  let cut = vec4<bool>(params.relu == 1) & (centred * c.y + c.z <= vec4f(0));
  return select(gradient, vec4f(0), cut);
}

// An invocation's share of (Σ g, Σ g (x - centre)) of a plane.
fn sums_of(plane: u32, c: vec4f, lane: u32) -> vec2f {
  var sum = vec4f(0);
  var products = vec4f(0);
  for (var k = lane; k < params.plane; k += 8 * params.lanes) {
    let at = four_from(k);
    let next = four_from(k + 4 * params.lanes);
    let i = elements(plane, at);
    let j = elements(plane, next);
    let centred = load_x(i) - c.x;
    let more = load_x(j) - c.x;
    let g = select(vec4f(0), passed(load_grad(i), centred, c), at < vec4u(params.plane));
    let h = select(vec4f(0), passed(load_grad(j), more, c), next < vec4u(params.plane));
    sum += g + h;
    products += g * centred + h * more;
  }
  return vec2f(dot(sum, vec4f(1)), dot(products, vec4f(1)));
}

fn rectified(value: vec4f) -> vec4f {
  let cut = vec4<bool>(params.relu == 1) & (value < vec4f(0)) & !is_nan(value);
  return select(value, vec4f(0), cut);
}

fn normalise(index: u32, local: u32, mean: f32, deviation: f32) {
  let lane = local % params.lanes;
  for (var part = local / params.lanes; part < params.parts; part += planes_at_once()) {
    let plane = plane_of(index, part);
    let channel = plane % params.channels;
    let c = vec4f(mean, weight[channel] * deviation, bias[channel], deviation);
    if (lane == 0 && plane < params.rows) { coefficients[plane] = c; }
    for (var k = lane; k < params.plane; k += 8 * params.lanes) {
      let at = four_from(k);
      let next = four_from(k + 4 * params.lanes);
      let i = elements(plane, at);
      let j = elements(plane, next);
      var value = (load_x(i) - c.x) * c.y + c.z;
      var more = (load_x(j) - c.x) * c.y + c.z;
      if (WITH_RESIDUAL == 1) {
        value += vec4f(residual[i.x], residual[i.y], residual[i.z], residual[i.w]);
        more += vec4f(residual[j.x], residual[j.y], residual[j.z], residual[j.w]);
      }
      store_y(i, at, rectified(value));
      store_y(j, next, rectified(more));
    }
  }
}

// The gradient of a normalisation to its input, in one plane.
fn gradient(plane: u32, c: vec4f, slope: vec2f, lane: u32) {
  for (var k = lane; k < params.plane; k += 8 * params.lanes) {
    let at = four_from(k);
    let next = four_from(k + 4 * params.lanes);
    let i = elements(plane, at);
    let j = elements(plane, next);
    let centred = load_x(i) - c.x;
    let more = load_x(j) - c.x;
    let g = passed(load_grad(i), centred, c);
    let h = passed(load_grad(j), more, c);
    store_y(i, at, g * c.y + centred * slope.x + slope.y);
    store_y(j, next, h * c.y + more * slope.x + slope.y);
  }
}

// Sums of a channel to its parameters' gradients; returns (slope, offset) of the gradient to x.
fn batch_slope(channel: u32, local: u32, c: vec4f, sum: vec2f) -> vec2f {
  if (local == 0) {
    var before = vec2f(0);
    if ((params.accumulate & 1) == 1) { before.x = grad_weight[channel]; }
    if ((params.accumulate & 2) == 2) { before.y = grad_bias[channel]; }
    grad_weight[channel] = before.x + sum.y * c.w;
    grad_bias[channel] = before.y + sum.x;
  }
  let share = f32(params.batch) / (f32(params.parts) * f32(params.plane));
  return -share * c.y * vec2f(c.w * c.w * sum.y, sum.x);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_forward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let channel = set_of(group, groups);
  if (channel >= params.sets) { return; }
  var mean = 0.0;
  var variance = 0.0;
  if (params.batch == 1) {
    let found = moments_of(channel, local);
    let count = f32(params.parts) * f32(params.plane);
    mean = found.x;
    variance = found.y / count;
    if (local == 0) {
      let unbiased = found.y / (count - 1);
      running_mean[channel] += params.momentum * (mean - running_mean[channel]);
      running_variance[channel] += params.momentum * (unbiased - running_variance[channel]);
    }
  } else {
    mean = running_mean[channel];
    variance = running_variance[channel];
  }
  normalise(channel, local, mean, 1 / sqrt(variance + params.eps));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn group_forward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let index = set_of(group, groups);
  if (index >= params.sets) { return; }
  let found = moments_of(index, local);
  let variance = found.y / (f32(params.parts) * f32(params.plane));
  normalise(index, local, found.x, 1 / sqrt(variance + params.eps));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_backward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let channel = set_of(group, groups);
  if (channel >= params.sets) { return; }
  let c = coefficients[channel];
  let lane = local % params.lanes;
  let row = local / params.lanes;
  var own = vec2f(0);
  for (var part = row; part < params.parts; part += planes_at_once()) {
    own += sums_of(plane_of(channel, part), c, lane);
  }
  let slope = batch_slope(channel, local, c, total(own, local));
  for (var part = row; part < params.parts; part += planes_at_once()) {
    gradient(plane_of(channel, part), c, slope, lane);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_backward_residual(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let channel = set_of(group, groups);
  if (channel >= params.sets) { return; }
  let c = coefficients[channel];
  let lane = local % params.lanes;
  let row = local / params.lanes;
  var sum = vec4f(0);
  var products = vec4f(0);
  for (var part = row; part < params.parts; part += planes_at_once()) {
    let plane = plane_of(channel, part);
    for (var k = lane; k < params.plane; k += 8 * params.lanes) {
      let at = four_from(k);
      let next = four_from(k + 4 * params.lanes);
      let i = elements(plane, at);
      let j = elements(plane, next);
      let centred = load_x(i) - c.x;
      let more = load_x(j) - c.x;
      // What lies behind the plane stands for its last element, which another invocation may be
      // writing: it is not used.
      let g = select(vec4f(0), mask(load_masked(i), i), at < vec4u(params.plane));
      let h = select(vec4f(0), mask(load_masked(j), j), next < vec4u(params.plane));
      sum += g + h;
      products += g * centred + h * more;
      store_masked(i, at, g);
      store_masked(j, next, h);
    }
  }
  let own = vec2f(dot(sum, vec4f(1)), dot(products, vec4f(1)));
  let slope = batch_slope(channel, local, c, total(own, local));
  for (var part = row; part < params.parts; part += planes_at_once()) {
    let plane = plane_of(channel, part);
    for (var k = lane; k < params.plane; k += 8 * params.lanes) {
      let at = four_from(k);
      let next = four_from(k + 4 * params.lanes);
      let i = elements(plane, at);
      let j = elements(plane, next);
      let value = load_masked(i) * c.y + (load_x(i) - c.x) * slope.x + slope.y;
      let more = load_masked(j) * c.y + (load_x(j) - c.x) * slope.x + slope.y;
      store_y(i, at, value);
      store_y(j, next, more);
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn group_backward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let index = set_of(group, groups);
  if (index >= params.sets) { return; }
  let lane = local % params.lanes;
  let row = local / params.lanes;
  var weighted = vec2f(0);
  for (var begin = 0u; begin < params.parts; begin += planes_at_once()) {
    let plane = plane_of(index, begin + row);
    let owned = begin + row < params.parts;
    var own = vec2f(0);
    if (owned) { own = sums_of(plane, coefficients[plane], lane); }
    fold(own, local, params.lanes);
    if (owned && lane == 0) { totals[plane] = sums[local]; }
    let rows = min(planes_at_once(), params.parts - begin);
    for (var other = 0u; other < rows; other++) {
      let channel = plane_of(index, begin + other) % params.channels;
      weighted += weight[channel] * sums[other * params.lanes];
    }
    workgroupBarrier();
  }
  let deviation = coefficients[plane_of(index, 0)].w;
  let share = 1 / (f32(params.parts) * f32(params.plane));
  let slope = -share * deviation * vec2f(deviation * deviation * weighted.y, weighted.x);
  for (var part = row; part < params.parts; part += planes_at_once()) {
    let plane = plane_of(index, part);
    gradient(plane, coefficients[plane], slope, lane);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn plane_moments(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let plane = set_of(group, groups);
  if (plane >= params.sets) { return; }
  let found = moments_of(plane, local);
  if (local == 0) { totals[plane] = found; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn plane_sums(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let plane = set_of(group, groups);
  if (plane >= params.sets) { return; }
  let found = total(
    sums_of(plane, coefficients[(params.first + plane) % params.rows], local),
    local,
  );
  if (local == 0) { totals[plane] = found; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn plane_dots(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let plane = set_of(group, groups);
  if (plane >= params.sets) { return; }
  var sum = vec4f(0);
  for (var k = local; k < params.plane; k += 8 * params.lanes) {
    let at = four_from(k);
    let next = four_from(k + 4 * params.lanes);
    let i = elements(plane, at);
    let j = elements(plane, next);
    let products = load_grad(i) * load_x(i);
    let more = load_grad(j) * load_x(j);
    sum += select(vec4f(0), products, at < vec4u(params.plane));
    sum += select(vec4f(0), more, next < vec4u(params.plane));
  }
  let found = total(vec2f(dot(sum, vec4f(1)), 0), local);
  if (local == 0) { values[plane] = found.x; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn plane_means(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let plane = set_of(group, groups);
  if (plane >= params.sets) { return; }
  var sum = vec4f(0);
  for (var k = local; k < params.plane; k += 8 * params.lanes) {
    let at = four_from(k);
    let next = four_from(k + 4 * params.lanes);
    let values = load_x(elements(plane, at));
    let more = load_x(elements(plane, next));
    sum += select(vec4f(0), values, at < vec4u(params.plane));
    sum += select(vec4f(0), more, next < vec4u(params.plane));
  }
  let found = total(vec2f(dot(sum, vec4f(1)), 0), local);
  if (local == 0) { values[plane] = found.x / f32(params.plane); }
}
