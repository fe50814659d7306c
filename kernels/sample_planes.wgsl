// Bilinear samples of feature maps at given places, and their gradient:
//   samples[n, p, c] = Σ_corners weight_corner x[n, c, corner],   the corners around places[n, p]
//
// x, grad_x: [N, C, H, W]; places: [N, P] pairs (column, row), counted from the centre of the first
// pixel and moved to the nearest place inside the map; samples, grad_samples: [N, P, C].
// forward: one invocation owns one sample. backward: one invocation owns one plane of grad_x and
// adds the places in their order, so equal inputs give equal bits. Both overwrite.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> places: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> samples: array<f32>;
@group(0) @binding(3) var<storage, read> grad_samples: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_x: array<f32>;

struct Params { images: u32, channels: u32, height: u32, width: u32, count: u32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

// The four pixels around a place, in the order of the weights, and what each weighs.
struct Corners { pixels: vec4u, weights: vec4f }

fn corners_of(place: vec2f) -> Corners {
  let last = vec2u(params.width - 1, params.height - 1);
  let inside = clamp(place, vec2f(0), vec2f(last));
  let first = min(vec2u(inside), last);
  let next = min(first + 1, last);
  let far = inside - vec2f(first);
  let near = 1 - far;
  let rows = vec2u(first.y, next.y) * params.width;
  return Corners(
    vec4u(rows.x + first.x, rows.x + next.x, rows.y + first.x, rows.y + next.x),
    vec4f(near.y * near.x, near.y * far.x, far.y * near.x, far.y * far.x),
  );
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (i >= params.images * params.count * params.channels) { return; }
  let place = i / params.channels;
  let plane = place / params.count * params.channels + i % params.channels;
  let start = plane * params.height * params.width;
  let corners = corners_of(places[place]);
  let at = start + corners.pixels;
  samples[i] = dot(corners.weights, vec4f(x[at.x], x[at.y], x[at.z], x[at.w]));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let plane = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (plane >= params.images * params.channels) { return; }
  let size = params.height * params.width;
  let start = plane * size;
  for (var pixel = 0u; pixel < size; pixel++) { grad_x[start + pixel] = 0; }
  let first = plane / params.channels * params.count;
  for (var place = first; place < first + params.count; place++) {
    let corners = corners_of(places[place]);
    let gradient = grad_samples[place * params.channels + plane % params.channels];
    // One after the other: at the border two corners are the same pixel.
    grad_x[start + corners.pixels.x] += corners.weights.x * gradient;
    grad_x[start + corners.pixels.y] += corners.weights.y * gradient;
    grad_x[start + corners.pixels.z] += corners.weights.z * gradient;
    grad_x[start + corners.pixels.w] += corners.weights.w * gradient;
  }
}
