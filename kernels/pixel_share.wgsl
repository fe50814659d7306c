// Terms of the share of the pixels that count which lie in a range of images: weighted_mean makes
// Σ (counts and lies in the range) / Σ counts of them.
//
// pixels: [N, plane]; terms: [N, runs] pairs (counted in the range, counted). An invocation owns
// one pair, overwrites it and walks every runs-th pixel of its image.
// With LABELS a pixel counts where it is below `classes` and not `ignore_label`, else where it is
// not 0.

// The pixels may hold floats, of which only zero or not zero counts; the alias says so.
alias Word = u32;

@group(0) @binding(0) var<storage, read> pixels: array<Word>;
@group(0) @binding(1) var<storage, read_write> terms: array<vec2f>;

struct Params {
  images: u32,
  plane: u32,
  runs: u32,
  first: u32,
  count: u32,
  classes: u32,
  ignore_label: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

override LABELS: bool = false;

const WORKGROUP_SIZE = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn share(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let run = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (run >= params.images * params.runs) { return; }
  let image = run / params.runs;
  var counted = 0.0;
  for (var pixel = run % params.runs; pixel < params.plane; pixel += params.runs) {
    let value = pixels[image * params.plane + pixel];
    let is_label = value < params.classes && value != params.ignore_label;
    if (select(value != 0, is_label, LABELS)) { counted += 1; }
  }
  // `first` is counted from the image at which the binding begins: below 0 it wraps round.
  terms[run] = vec2f(select(0, counted, image - params.first < params.count), counted);
}
