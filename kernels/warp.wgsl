// Views: every output pixel (x, y) samples its image at the place that the view's matrix says,
//   place = (across · (x, y, 1), down · (x, y, 1)), in input pixels, centres at whole numbers.
// Images and maps are sampled bilinearly, labels and nearest maps take the nearest pixel. A pixel is seen if its
// place is nearest to a pixel of the input and its cut = (cut_across · (x, y, 1), cut_down · (x, y,
// 1)) lies outside [0, 1)², the part that was cut out. Unseen pixels get `fill`, labels
// `ignore_label`, the mask 0. The four taps are clamped to the input, so that the half pixel at its
// border repeats it.
// Colours: rgb' = clamp(red · (r, g, b, 1), …), to 0…1.
//
//   images:       packed_images, RGB bytes by height and width → y, [N, 3, …]
//   labels:       packed_labels, bytes by height and width → ids, [N, …]
//   maps:         x [N, C, height, width] → y [N, C, …]
//   nearest_maps: the same, of the nearest pixel
//   colour_maps:  x [N, 3, height, width] → y [N, 3, …], colours changed
//   label_maps:   label_ids [N, height, width] → ids [N, …]
//   mask:         → y [N, …], 1 where seen
// … is output_height, output_width; `pixels` = N output_height output_width. Packed images take a
// row of words each and have sizes of their own, in the view. One invocation owns one pixel of all
// channels of the output and overwrites it.

struct View {
  across: vec4f, // matrix row, then the input's width
  down: vec4f, // matrix row, then the input's height
  cut_across: vec4f, // matrix row, then fill
  cut_down: vec4f,
  red: vec4f,
  green: vec4f,
  blue: vec4f,
}

@group(0) @binding(0) var<storage, read> views: array<View>;
@group(0) @binding(1) var<storage, read> packed_images: array<u32>;
@group(0) @binding(2) var<storage, read> packed_labels: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> label_ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> ids: array<u32>;

struct Params {
  pixels: u32,
  output_height: u32,
  output_width: u32,
  channels: u32,
  row_words: u32,
  ignore_label: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

struct Pixel {
  index: u32,
  image: u32,
  in_image: u32, // row by row
}

fn pixel_of(id: vec3u, groups: vec3u) -> Pixel {
  let index = id.y * groups.x * WORKGROUP_SIZE + id.x;
  let plane = params.output_height * params.output_width;
  return Pixel(index, index / plane, index % plane);
}

// Where a pixel lies in its input: between four pixels, and nearest to which.
struct Place {
  seen: bool,
  nearest: u32, // index in the input, row by row
  corners: vec4u, // likewise: top left, top right, bottom left, bottom right
  share: vec2f, // of the right ones and of the bottom ones
}

fn place_of(pixel: Pixel) -> Place {
  let view = views[pixel.image];
  let output = vec3f(
    f32(pixel.in_image % params.output_width),
    f32(pixel.in_image / params.output_width),
    1,
  );
  let size = vec2f(view.across.w, view.down.w);
  let place = vec2f(dot(view.across.xyz, output), dot(view.down.xyz, output));
  let cut = vec2f(dot(view.cut_across.xyz, output), dot(view.cut_down.xyz, output));
  let is_cut = all(cut >= vec2f(0)) && all(cut < vec2f(1));
  let nearest = floor(place + 0.5);
  let is_inside = all(nearest >= vec2f(0)) && all(nearest < size);
  // Clamped, so that places far outside are valid indices too.
  let inner = clamp(place, vec2f(0), size - 1);
  let low = floor(inner);
  let high = min(low + 1, size - 1);
  let width = u32(size.x);
  let top = u32(low.y) * width;
  let bottom = u32(high.y) * width;
  let own = vec2u(clamp(nearest, vec2f(0), size - 1));
  return Place(
    is_inside && !is_cut,
    own.y * width + own.x,
    vec4u(top + u32(low.x), top + u32(high.x), bottom + u32(low.x), bottom + u32(high.x)),
    inner - low,
  );
}

fn recolour(view: u32, colour: vec3f) -> vec3f {
  let rgb1 = vec4f(colour, 1);
  let changed = vec3f(
    dot(views[view].red, rgb1),
    dot(views[view].green, rgb1),
    dot(views[view].blue, rgb1),
  );
  return clamp(changed, vec3f(0), vec3f(1));
}

// Writes the pixel of [N, 3, …].
fn store_colour(pixel: Pixel, colour: vec3f) {
  let plane = params.output_height * params.output_width;
  let o = pixel.image * 3 * plane + pixel.in_image;
  y[o] = colour.r;
  y[o + plane] = colour.g;
  y[o + 2 * plane] = colour.b;
}

// One RGB pixel, 0 to 255; its three bytes may lie in two words.
fn packed_colour(row: u32, i: u32) -> vec3f {
  let byte = 3 * i;
  let word = row * params.row_words + byte / 4;
  let shift = byte % 4 * 8;
  let next = select(packed_images[word + 1] << (32 - shift), 0, shift == 0);
  let bits = (packed_images[word] >> shift) | next;
  return vec3f(vec3u(bits, bits >> 8, bits >> 16) & vec3u(255));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn images(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  if (pixel.index >= params.pixels) { return; }
  let place = place_of(pixel);
  var colour = vec3f(views[pixel.image].cut_across.w);
  if (place.seen) {
    let row = pixel.image;
    let top_left = packed_colour(row, place.corners.x);
    let top_right = packed_colour(row, place.corners.y);
    let bottom_left = packed_colour(row, place.corners.z);
    let bottom_right = packed_colour(row, place.corners.w);
    let top = mix(top_left, top_right, place.share.x);
    let bottom = mix(bottom_left, bottom_right, place.share.x);
    // A product and not a quotient: WGSL rounds the former alike everywhere.
    colour = recolour(pixel.image, mix(top, bottom, place.share.y) * (1 / 255.0));
  }
  store_colour(pixel, colour);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn labels(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  if (pixel.index >= params.pixels) { return; }
  let place = place_of(pixel);
  let word = packed_labels[pixel.image * params.row_words + place.nearest / 4];
  let label = (word >> (place.nearest % 4 * 8)) & 255;
  ids[pixel.index] = select(params.ignore_label, label, place.seen);
}

fn sample(start: u32, place: Place) -> f32 {
  let at = start + place.corners;
  let top = mix(x[at.x], x[at.y], place.share.x);
  let bottom = mix(x[at.z], x[at.w], place.share.x);
  return mix(top, bottom, place.share.y);
}

// Elements of one plane of x.
fn input_plane(image: u32) -> u32 {
  return u32(views[image].across.w) * u32(views[image].down.w);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn maps(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  if (pixel.index >= params.pixels) { return; }
  let place = place_of(pixel);
  let fill = views[pixel.image].cut_across.w;
  let plane = input_plane(pixel.image);
  let output_plane = params.output_height * params.output_width;
  for (var c = 0u; c < params.channels; c++) {
    let channel = pixel.image * params.channels + c;
    let value = sample(channel * plane, place);
    y[channel * output_plane + pixel.in_image] = select(fill, value, place.seen);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn nearest_maps(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  if (pixel.index >= params.pixels) { return; }
  let place = place_of(pixel);
  let fill = views[pixel.image].cut_across.w;
  let plane = input_plane(pixel.image);
  let output_plane = params.output_height * params.output_width;
  for (var c = 0u; c < params.channels; c++) {
    let channel = pixel.image * params.channels + c;
    let value = x[channel * plane + place.nearest];
    y[channel * output_plane + pixel.in_image] = select(fill, value, place.seen);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn colour_maps(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  if (pixel.index >= params.pixels) { return; }
  let place = place_of(pixel);
  let plane = input_plane(pixel.image);
  let start = pixel.image * 3 * plane;
  let sampled = vec3f(
    sample(start, place),
    sample(start + plane, place),
    sample(start + 2 * plane, place),
  );
  let fill = vec3f(views[pixel.image].cut_across.w);
  store_colour(pixel, select(fill, recolour(pixel.image, sampled), place.seen));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn label_maps(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  if (pixel.index >= params.pixels) { return; }
  let place = place_of(pixel);
  let label = label_ids[pixel.image * input_plane(pixel.image) + place.nearest];
  ids[pixel.index] = select(params.ignore_label, label, place.seen);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn mask(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  if (pixel.index >= params.pixels) { return; }
  y[pixel.index] = select(0.0, 1.0, place_of(pixel).seen);
}
