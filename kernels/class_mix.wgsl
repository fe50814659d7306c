// Class mix: pixels of some classes of a source image pasted onto a target image (ClassMix, Olsson
// et al., 2021; across domains DACS, Tranheden et al., 2021).
//   M = 1 where the source label is a class that was chosen, else 0
//   mixed = M source + (1 − M) target
// choose: of the n classes in a label map, ⌈n/2⌉ with the least keys; of equal keys the first. Labels
//         from K up and ignore_label are none.
// mix:    the mixed image, and the labels of what was pasted, ignore_label where nothing was
// labels, probabilities, values: what the target has, but where something was pasted its label, the
//         one-hot of it, or `value`
//
// source, target, mixed: [N, channels, plane]; labels, pasted: [N, plane]; keys, chosen: [N, K],
// K = classes; x_ids, y_ids, and x, y of values: [N, plane]; x, y of probabilities: [N, K, plane];
// pixels = N plane. choose: a workgroup owns the row of an image; the others: an invocation owns a
// pixel of all channels of its outputs. All overwrite.

@group(0) @binding(0) var<storage, read> labels: array<u32>;
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read_write> chosen: array<u32>;
@group(0) @binding(3) var<storage, read> source: array<f32>;
@group(0) @binding(4) var<storage, read> target_image: array<f32>;
@group(0) @binding(5) var<storage, read_write> mixed: array<f32>;
@group(0) @binding(6) var<storage, read_write> pasted: array<u32>;
@group(0) @binding(7) var<storage, read> x_ids: array<u32>;
@group(0) @binding(8) var<storage, read_write> y_ids: array<u32>;
@group(0) @binding(9) var<storage, read> x: array<f32>;
@group(0) @binding(10) var<storage, read_write> y: array<f32>;

struct Params {
  pixels: u32,
  plane: u32,
  channels: u32,
  classes: u32,
  ignore_label: u32,
  value: f32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const MOST_CLASSES = 256u;
const WORDS = MOST_CLASSES / 32;

var<workgroup> present: array<atomic<u32>, WORDS>; // a bit for each class

fn is_class(label: u32) -> bool {
  return label < params.classes && label != params.ignore_label;
}

fn is_present(k: u32) -> bool {
  return ((atomicLoad(&present[k / 32]) >> (k % 32)) & 1) == 1;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn choose(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let image = group.y * groups.x + group.x;
  var last = params.classes; // neighbours are mostly alike
  for (var pixel = local; pixel < params.plane; pixel += WORKGROUP_SIZE) {
    let label = labels[image * params.plane + pixel];
    if (label != last && is_class(label)) {
      atomicOr(&present[label / 32], 1u << (label % 32));
      last = label;
    }
  }
  workgroupBarrier();
  var count = 0u;
  for (var word = 0u; word < WORDS; word++) { count += countOneBits(atomicLoad(&present[word])); }
  let row = image * params.classes;
  for (var k = local; k < params.classes; k += WORKGROUP_SIZE) {
    let own_key = keys[row + k];
    var rank = 0u;
    for (var other = 0u; other < params.classes; other++) {
      let other_key = keys[row + other];
      let is_before = other_key < own_key || (other_key == own_key && other < k);
      if (is_before && is_present(other)) { rank++; }
    }
    chosen[row + k] = select(0u, 1u, is_present(k) && 2 * rank < count);
  }
}

fn pixel_of(id: vec3u, groups: vec3u) -> u32 {
  return id.y * groups.x * WORKGROUP_SIZE + id.x;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn mix_images(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  if (pixel >= params.pixels) { return; }
  let image = pixel / params.plane;
  let label = labels[pixel];
  var is_pasted = false;
  if (is_class(label)) { is_pasted = chosen[image * params.classes + label] == 1; }
  pasted[pixel] = select(params.ignore_label, label, is_pasted);
  let first = image * params.channels * params.plane + pixel % params.plane;
  for (var channel = 0u; channel < params.channels; channel++) {
    let i = first + channel * params.plane;
    mixed[i] = select(target_image[i], source[i], is_pasted);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn paste_labels(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  if (pixel >= params.pixels) { return; }
  let label = pasted[pixel];
  y_ids[pixel] = select(label, x_ids[pixel], label == params.ignore_label);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn paste_probabilities(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let pixel = pixel_of(id, groups);
  if (pixel >= params.pixels) { return; }
  let label = pasted[pixel];
  let first = pixel / params.plane * params.classes * params.plane + pixel % params.plane;
  for (var k = 0u; k < params.classes; k++) {
    let i = first + k * params.plane;
    y[i] = select(select(0.0, 1.0, k == label), x[i], label == params.ignore_label);
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn paste_value(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = pixel_of(id, groups);
  if (pixel >= params.pixels) { return; }
  y[pixel] = select(params.value, x[pixel], pasted[pixel] == params.ignore_label);
}
