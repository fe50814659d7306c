// The most probable class of every pixel, and its probability.
//   labels = argmax_k z_k, of equal ones the first; confidence = 1 / Σ_k exp(z_k − largest)
// z are the logits themselves, or (RESIZED) the logits resized as in resize.wgsl, bilinear with
// aligned corners, which are never stored: a pixel needs four of them for each class.
// A NaN among the logits of a pixel is its confidence; it is found by its bits, as exp() of a NaN is
// a number on some implementations.
//
// logits: [N, K, height, width]; labels, confidence: [N, output_height, output_width], `pixels` of
// them.
// One invocation owns one pixel of labels and confidence and overwrites it.

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> confidence: array<f32>;

struct Params {
  pixels: u32,
  classes: u32,
  height: u32,
  width: u32,
  output_height: u32,
  output_width: u32,
  scale_y: f32,
  scale_x: f32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
override RESIZED: bool = false;

// The four logits around a pixel, of the first class, and the shares of the lower and right ones.
struct Place { corners: vec4u, share: vec2f }

fn place_of(column: u32, row: u32, start: u32) -> Place {
  let size = vec2u(params.width, params.height);
  let place = vec2f(vec2u(column, row)) * vec2f(params.scale_x, params.scale_y);
  let low = min(vec2u(place), size - 1);
  let high = min(low + 1, size - 1);
  let top = start + low.y * size.x;
  let bottom = start + high.y * size.x;
  let corners = vec4u(top + low.x, top + high.x, bottom + low.x, bottom + high.x);
  return Place(corners, place - vec2f(low));
}

fn logit(place: Place, offset: u32) -> f32 {
  let at = place.corners + offset;
  if (!RESIZED) { return logits[at.x]; }
  let top = mix(logits[at.x], logits[at.y], place.share.x);
  let bottom = mix(logits[at.z], logits[at.w], place.share.x);
  return mix(top, bottom, place.share.y);
}

fn is_nan(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7fffffff) > 0x7f800000;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (pixel >= params.pixels) { return; }
  let output_plane = params.output_height * params.output_width;
  let plane = params.height * params.width;
  let place = place_of(
    pixel % params.output_width,
    pixel % output_plane / params.output_width,
    pixel / output_plane * params.classes * plane,
  );
  var label = 0u;
  var largest = logit(place, 0);
  var sum = 1.0;
  var unknown = largest;
  for (var k = 1u; k < params.classes; k++) {
    let value = logit(place, k * plane);
    let power = exp(-abs(value - largest));
    let larger = value > largest;
    sum = select(sum + power, sum * power + 1, larger);
    label = select(label, k, larger);
    largest = select(largest, value, larger);
    unknown = select(unknown, value, is_nan(value));
  }
  labels[pixel] = label;
  confidence[pixel] = select(1 / sum, unknown, is_nan(unknown));
}
