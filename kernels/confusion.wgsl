// Counts of pixels by label and prediction: counts[label · classes + prediction] += 1.
// Pixels whose label is ignore_label, or whose label or prediction is no class, count nowhere.
//
// predictions, labels: `pixels` ids; counts: [K, K], row = label, K = classes.
// One invocation owns RUN neighbouring pixels and adds to counts; neighbours are mostly alike, so
// it adds once for each run of equal pairs. Integer addition commutes: the order does not show.

@group(0) @binding(0) var<storage, read> predictions: array<u32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> counts: array<atomic<u32>>;

struct Params { pixels: u32, classes: u32, ignore_label: u32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const RUN = 16u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn count(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let first = (id.y * groups.x * WORKGROUP_SIZE + id.x) * RUN;
  let end = min(first + RUN, params.pixels);
  var bin = 0u;
  var seen = 0u;
  for (var i = first; i < end; i++) {
    let label = labels[i];
    let prediction = predictions[i];
    if (label != params.ignore_label && max(label, prediction) < params.classes) {
      let own = label * params.classes + prediction;
      if (own != bin && seen > 0) {
        atomicAdd(&counts[bin], seen);
        seen = 0;
      }
      bin = own;
      seen++;
    }
  }
  if (seen > 0) { atomicAdd(&counts[bin], seen); }
}
