// Factors of 2-D dropout: 0 with probability `rate`, else 1 / (1 - rate), one for every plane.
//
// factor: [N, C], `count` elements. An invocation owns one and overwrites it. The random word of
// plane i is the first of the Philox block at counter (i, layer, 0, 0) under key (seed, step), so
// the same counters give the same factors on every adapter.

@group(0) @binding(0) var<storage, read_write> factor: array<f32>;

// A plane is dropped where its word is below `threshold` = rate * 2^32.
struct Params { count: u32, seed: u32, step: u32, layer: u32, threshold: u32, kept: f32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

// High and low word of a 64-bit product, from 16-bit halves.
fn multiply_wide(a: u32, b: u32) -> vec2u {
  let low = (a & 0xffff) * (b & 0xffff);
  let middle = (a >> 16) * (b & 0xffff) + (low >> 16); // below 2^32
  let other = (a & 0xffff) * (b >> 16) + (middle & 0xffff);
  return vec2u((a >> 16) * (b >> 16) + (middle >> 16) + (other >> 16), a * b);
}

// Philox4x32-10 (Salmon et al., 2011).
fn philox(start: vec4u, start_key: vec2u) -> vec4u {
  var counter = start;
  var key = start_key;
  for (var round = 0; round < 10; round++) {
    let first = multiply_wide(0xd2511f53, counter.x);
    let second = multiply_wide(0xcd9e8d57, counter.z);
    counter = vec4u(second.x ^ counter.y ^ key.x, second.y, first.x ^ counter.w ^ key.y, first.y);
    key += vec2u(0x9e3779b9, 0xbb67ae85);
  }
  return counter;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn factors(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (i >= params.count) { return; }
  let word = philox(vec4u(i, params.layer, 0, 0), vec2u(params.seed, params.step)).x;
  factor[i] = select(params.kept, 0, word < params.threshold);
}
