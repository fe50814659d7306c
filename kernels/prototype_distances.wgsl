// Euclidean distance of every pixel's feature to every prototype (equations 3, 7 and 8):
//   d_k = ‖f − η_k‖₂ = sqrt(Σ_c (f_c − η_kc)²)
//   grad_f_c = Σ_k grad_d_k (f_c − η_kc) / d_k, to which a class at distance 0 adds nothing.
// The squares are summed as they stand: ‖f‖² − 2 f·η + ‖η‖² would be a plain matrix product, but it
// loses the digits of a distance that is small beside the features.
//
// features, grad_features: [N, C, H, W]; prototypes: [K, C];
// distances, grad_distances: [N, K, H, W];
// by_channel: prototypes as [C, K up to a multiple of FORWARD_CLASSES]; by_class: as [K, C up to a
// multiple of the channels that an invocation owns], both padded with zeros by `pack`; plane = H W.
// All overwrite.
// forward: one invocation owns FORWARD_PIXELS × FORWARD_CLASSES, z is the block of classes.
// backward: one invocation owns BACKWARD_PIXELS × BACKWARD_CHANNELS, z is the block of channels.
// backward_narrow: the same with NARROW_CHANNELS, which fit the registers of GPUs.
// The pixels of an invocation lie `spacing` apart, so that neighbouring invocations read
// neighbouring pixels and any plane fits.

@group(0) @binding(0) var<storage, read> prototypes: array<f32>;
@group(0) @binding(1) var<storage, read_write> packed: array<f32>;
@group(0) @binding(2) var<storage, read> features: array<f32>;
@group(0) @binding(3) var<storage, read> by_channel: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> distances: array<f32>;
@group(0) @binding(5) var<storage, read> grad_distances: array<f32>;
@group(0) @binding(6) var<storage, read> saved_distances: array<f32>;
@group(0) @binding(7) var<storage, read> by_class: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> grad_features: array<f32>;

struct PackParams { rows: u32, columns: u32, used: u32, row_stride: u32, column_stride: u32 }
@group(1) @binding(0) var<uniform> pack_params: PackParams;

struct Params { images: u32, channels: u32, classes: u32, plane: u32, spacing: u32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
// What an invocation of forward and of either backward owns, written out there.
const FORWARD_PIXELS = 8u;
const FORWARD_CLASSES = 8u;
const BACKWARD_PIXELS = 4u;
const BACKWARD_CHANNELS = 16u;
const NARROW_CHANNELS = 8u;

// Copies prototypes to [rows, columns] of which the first `used` columns hold numbers.
@compute @workgroup_size(WORKGROUP_SIZE)
fn pack(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (i >= pack_params.rows * pack_params.columns) { return; }
  let row = i / pack_params.columns;
  let column = i % pack_params.columns;
  var value = 0.0;
  if (column < pack_params.used) {
    value = prototypes[row * pack_params.row_stride + column * pack_params.column_stride];
  }
  packed[i] = value;
}

// Squared differences of four pixels (rows) from four classes (columns) in one channel.
fn squares(f: vec4f, prototype: vec4f) -> mat4x4f {
  let a = f - prototype.x;
  let b = f - prototype.y;
  let c = f - prototype.z;
  let d = f - prototype.w;
  return mat4x4f(a * a, b * b, c * c, d * d);
}

// Four pixels of the plane that starts at `first`; pixels past its end read its last one instead.
fn load_features(first: u32, pixels: vec4u) -> vec4f {
  let i = first + min(pixels, vec4u(params.plane - 1));
  return vec4f(features[i.x], features[i.y], features[i.z], features[i.w]);
}

fn store_distances(image: u32, class_block: u32, pixels: vec4u, sums: mat4x4f) {
  for (var column = 0u; column < 4; column++) {
    let k = class_block * 4 + column;
    if (k >= params.classes) { return; }
    let first = (image * params.classes + k) * params.plane;
    let d = sqrt(sums[column]);
    for (var row = 0u; row < 4; row++) {
      if (pixels[row] < params.plane) { distances[first + pixels[row]] = d[row]; }
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let tile = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (tile >= params.images * params.spacing) { return; }
  let image = tile / params.spacing;
  let near = tile % params.spacing + params.spacing * vec4u(0, 1, 2, 3);
  let far = near + FORWARD_PIXELS / 2 * params.spacing;
  let class_blocks = (params.classes + FORWARD_CLASSES - 1) / FORWARD_CLASSES * 2;
  var near_a = mat4x4f();
  var near_b = mat4x4f();
  var far_a = mat4x4f();
  var far_b = mat4x4f();
  var first = image * params.channels * params.plane;
  var block = id.z * 2;
  for (var c = 0u; c < params.channels; c++) {
    let f_near = load_features(first, near);
    let f_far = load_features(first, far);
    let a = by_channel[block];
    let b = by_channel[block + 1];
    near_a += squares(f_near, a);
    near_b += squares(f_near, b);
    far_a += squares(f_far, a);
    far_b += squares(f_far, b);
    first += params.plane;
    block += class_blocks;
  }
  store_distances(image, id.z * 2, near, near_a);
  store_distances(image, id.z * 2 + 1, near, near_b);
  store_distances(image, id.z * 2, far, far_a);
  store_distances(image, id.z * 2 + 1, far, far_b);
}

// grad_d / d of four pixels of one class, 0 where d is.
fn pull_of_class(image: u32, k: u32, pixels: vec4u) -> vec4f {
  let i = (image * params.classes + k) * params.plane + min(pixels, vec4u(params.plane - 1));
  let g = vec4f(grad_distances[i.x], grad_distances[i.y], grad_distances[i.z], grad_distances[i.w]);
  let d = vec4f(
    saved_distances[i.x], saved_distances[i.y], saved_distances[i.z], saved_distances[i.w],
  );
  return select(vec4f(0), g / d, d > vec4f(0));
}

fn load_channels(first: u32, channel: u32, pixels: vec4u) -> mat4x4f {
  let c = min(vec4u(channel, channel + 1, channel + 2, channel + 3), vec4u(params.channels - 1));
  let plane = first + c * params.plane;
  return mat4x4f(
    load_features(plane.x, pixels), load_features(plane.y, pixels),
    load_features(plane.z, pixels), load_features(plane.w, pixels),
  );
}

// The share of one class in the gradient of four pixels (rows) and four channels (columns).
fn pulled(pull: vec4f, f: mat4x4f, prototype: vec4f) -> mat4x4f {
  return mat4x4f(
    pull * (f[0] - prototype.x), pull * (f[1] - prototype.y),
    pull * (f[2] - prototype.z), pull * (f[3] - prototype.w),
  );
}

fn store_gradients(first: u32, channel: u32, pixels: vec4u, gradients: mat4x4f) {
  for (var column = 0u; column < 4; column++) {
    if (channel + column >= params.channels) { return; }
    let plane = first + (channel + column) * params.plane;
    let gradient = gradients[column];
    for (var row = 0u; row < 4; row++) {
      if (pixels[row] < params.plane) { grad_features[plane + pixels[row]] = gradient[row]; }
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let tile = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (tile >= params.images * params.spacing) { return; }
  let image = tile / params.spacing;
  let pixels = tile % params.spacing + params.spacing * vec4u(0, 1, 2, 3);
  let first = image * params.channels * params.plane;
  let channel = id.z * BACKWARD_CHANNELS;
  let channel_blocks = (params.channels + BACKWARD_CHANNELS - 1) / BACKWARD_CHANNELS * 4;
  let f_a = load_channels(first, channel, pixels);
  let f_b = load_channels(first, channel + 4, pixels);
  let f_c = load_channels(first, channel + 8, pixels);
  let f_d = load_channels(first, channel + 12, pixels);
  var a = mat4x4f();
  var b = mat4x4f();
  var c = mat4x4f();
  var d = mat4x4f();
  var block = id.z * 4;
  for (var k = 0u; k < params.classes; k++) {
    let pull = pull_of_class(image, k, pixels);
    let p_a = by_class[block];
    let p_b = by_class[block + 1];
    let p_c = by_class[block + 2];
    let p_d = by_class[block + 3];
    a += pulled(pull, f_a, p_a);
    b += pulled(pull, f_b, p_b);
    c += pulled(pull, f_c, p_c);
    d += pulled(pull, f_d, p_d);
    block += channel_blocks;
  }
  store_gradients(first, channel, pixels, a);
  store_gradients(first, channel + 4, pixels, b);
  store_gradients(first, channel + 8, pixels, c);
  store_gradients(first, channel + 12, pixels, d);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn backward_narrow(
  @builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u,
) {
  let tile = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (tile >= params.images * params.spacing) { return; }
  let image = tile / params.spacing;
  let pixels = tile % params.spacing + params.spacing * vec4u(0, 1, 2, 3);
  let first = image * params.channels * params.plane;
  let channel = id.z * NARROW_CHANNELS;
  let channel_blocks = (params.channels + NARROW_CHANNELS - 1) / NARROW_CHANNELS * 2;
  let f_a = load_channels(first, channel, pixels);
  let f_b = load_channels(first, channel + 4, pixels);
  var a = mat4x4f();
  var b = mat4x4f();
  var block = id.z * 2;
  for (var k = 0u; k < params.classes; k++) {
    let pull = pull_of_class(image, k, pixels);
    a += pulled(pull, f_a, by_class[block]);
    b += pulled(pull, f_b, by_class[block + 1]);
    block += channel_blocks;
  }
  store_gradients(first, channel, pixels, a);
  store_gradients(first, channel + 4, pixels, b);
}
