// Class centroids η [K, C]: their start as a mean over a data set (equation 4) and their moving
// average (equation 5), η_k ← decay η_k + (1 − decay) η'_k with η'_k the mean feature of class k in
// a batch.
//
// sums: [N, K, C] and counts: [N, K] of a batch, as class_sums gives them. A class with fewer than
// minimum_pixels pixels in an image is skipped in that image. per_image: every image counts alike
// with the mean of its class, in turn; else every pixel counts alike.
// state: [K, C + 1] pairs (total, excess), the C sums of a class and their weight. Totals are Kahan
// sums: `excess` is what rounding has added to the total too much, taken off the next addend, so
// that a hundred thousand additions cost no digits.
// accumulate: one invocation owns one pair of the state and adds to it. mean, update, running: one
// invocation owns one element of prototypes, overwritten or moved; a class that was not seen keeps
// it. running: the mean over images of their class means, η_k ← (n η_k + m_k) / (n + 1) image by
// image, where n is how many there were before and at most `most`. count, after it: one invocation
// owns the n of a class, numbers: [K].

@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read> counts: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<vec2f>;
@group(0) @binding(3) var<storage, read> totals: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> prototypes: array<f32>;
@group(0) @binding(5) var<storage, read> seen: array<f32>;
@group(0) @binding(6) var<storage, read_write> numbers: array<f32>;

struct Params {
  images: u32,
  classes: u32,
  channels: u32,
  minimum_pixels: f32,
  per_image: u32,
  rate: f32,
  zero: u32,
  most: f32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

fn flat_index(id: vec3u, groups: vec3u) -> u32 {
  return id.y * groups.x * WORKGROUP_SIZE + id.x;
}

// What an image adds to a class: (sum, weight), (0, 0) where the class is skipped.
fn addend(image: u32, k: u32, c: u32) -> vec2f {
  let row = image * params.classes + k;
  let count = counts[row];
  if (count < max(params.minimum_pixels, 1)) { return vec2f(0); }
  // The weight is no channel of its own.
  let sum = sums[row * params.channels + min(c, params.channels - 1)];
  return select(vec2f(sum, count), vec2f(sum / count, 1), params.per_image != 0);
}

// x, rounded to 32 bits here. Drivers may take (a + b) − a for b, and Mesa's do; they cannot see
// through an integer operation with a zero that only the host knows.
fn rounded(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) | params.zero);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn accumulate(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  let columns = params.channels + 1;
  if (i >= params.classes * columns) { return; }
  let c = i % columns;
  var pair = state[i];
  for (var image = 0u; image < params.images; image++) {
    let added = addend(image, i / columns, c);
    let value = select(added.x, added.y, c == params.channels) - pair.y;
    let total = rounded(pair.x + value);
    pair = vec2f(total, rounded(total - pair.x) - value);
  }
  state[i] = pair;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn mean(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.classes * params.channels) { return; }
  let first = i / params.channels * (params.channels + 1);
  let weight = totals[first + params.channels].x;
  if (weight > 0) { prototypes[i] = totals[first + i % params.channels].x / weight; }
}

// `rate` is 1 − decay: a small step is exact as η + rate (η' − η), where 1 − rate would round.
@compute @workgroup_size(WORKGROUP_SIZE)
fn update(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.classes * params.channels) { return; }
  var prototype = prototypes[i];
  var total = vec2f(0);
  for (var image = 0u; image < params.images; image++) {
    let added = addend(image, i / params.channels, i % params.channels);
    total += added;
    if (params.per_image != 0 && added.y > 0) { prototype += params.rate * (added.x - prototype); }
  }
  if (params.per_image == 0 && total.y > 0) {
    prototype += params.rate * (total.x / total.y - prototype);
  }
  prototypes[i] = prototype;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn running(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.classes * params.channels) { return; }
  let k = i / params.channels;
  var prototype = prototypes[i];
  var number = seen[k];
  for (var image = 0u; image < params.images; image++) {
    let added = addend(image, k, i % params.channels);
    if (added.y > 0) {
      prototype += (added.x - prototype) / (number + 1);
      number = min(number + 1, params.most);
    }
  }
  prototypes[i] = prototype;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn count(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let k = flat_index(id, groups);
  if (k >= params.classes) { return; }
  for (var image = 0u; image < params.images; image++) {
    if (addend(image, k, 0).y > 0) { numbers[k] = min(numbers[k] + 1, params.most); }
  }
}
