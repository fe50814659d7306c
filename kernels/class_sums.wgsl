// Sums of features by class: sums[n, k, c] = Σ f_c over the pixels of image n with label k, and the
// number of those pixels. Labels from K up add to nothing.
//
// features: [N, C, H, W]; labels: [N, H, W]; sums: [N, K, C]; counts: [N, K]; plane = H W.
// partial: one invocation owns CHANNELS × CLASSES of partial_sums [N, runs, K, C] and walks every
// runs-th pixel of its image; y is the block of channels, z of classes. Behind the last channel
// comes one of ones, whose sums are partial_counts [N, runs, K]. A pixel adds the outer product of
// its one-hot label and its channels, as registers cannot be indexed by a label.
// combine: one invocation owns one element of totals [N, width] and adds partials [N, runs, width].
// Both overwrite.

@group(0) @binding(0) var<storage, read> features: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial_counts: array<f32>;
@group(0) @binding(4) var<storage, read> partials: array<f32>;
@group(0) @binding(5) var<storage, read_write> totals: array<f32>;

struct Params { images: u32, channels: u32, classes: u32, plane: u32, runs: u32 }
@group(1) @binding(0) var<uniform> params: Params;

struct CombineParams { images: u32, runs: u32, width: u32 }
@group(1) @binding(0) var<uniform> combine_params: CombineParams;

const WORKGROUP_SIZE = 64u;
// What an invocation of partial owns, written out there.
const CHANNELS = 4u;
const CLASSES = 20u;

fn outer(f: vec4f, one_hot: vec4f) -> mat4x4f {
  return mat4x4f(f * one_hot.x, f * one_hot.y, f * one_hot.z, f * one_hot.w);
}

// One column a class, one row a channel.
fn store(run: u32, channel: u32, first_class: u32, sums: mat4x4f) {
  for (var column = 0u; column < 4; column++) {
    let k = first_class + column;
    if (k >= params.classes) { return; }
    let row = run * params.classes + k;
    let sum = sums[column];
    for (var c = 0u; c < 4; c++) {
      if (channel + c < params.channels) {
        partial_sums[row * params.channels + channel + c] = sum[c];
      } else if (channel + c == params.channels) {
        partial_counts[row] = sum[c];
      }
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn partial(@builtin(global_invocation_id) id: vec3u) {
  let run = id.x;
  if (run >= params.images * params.runs) { return; }
  let image = run / params.runs;
  let channel = id.y * CHANNELS;
  let k = id.z * CLASSES;
  let c = vec4u(channel, channel + 1, channel + 2, channel + 3);
  let is_feature = c < vec4u(params.channels);
  let first = (image * params.channels + min(c, vec4u(params.channels - 1))) * params.plane;
  var sums_a = mat4x4f();
  var sums_b = mat4x4f();
  var sums_c = mat4x4f();
  var sums_d = mat4x4f();
  var sums_e = mat4x4f();
  for (var pixel = run % params.runs; pixel < params.plane; pixel += params.runs) {
    let i = first + pixel;
    let values = vec4f(features[i.x], features[i.y], features[i.z], features[i.w]);
    let f = select(vec4f(1), values, is_feature);
    // A label below the block wraps round to a large number, which no class of the block equals.
    let label = vec4u(labels[image * params.plane + pixel] - k);
    let a = vec4f(label == vec4u(0, 1, 2, 3));
    let b = vec4f(label == vec4u(4, 5, 6, 7));
    let c = vec4f(label == vec4u(8, 9, 10, 11));
    let d = vec4f(label == vec4u(12, 13, 14, 15));
    let e = vec4f(label == vec4u(16, 17, 18, 19));
    sums_a += outer(f, a);
    sums_b += outer(f, b);
    sums_c += outer(f, c);
    sums_d += outer(f, d);
    sums_e += outer(f, e);
  }
  store(run, channel, k, sums_a);
  store(run, channel, k + 4, sums_b);
  store(run, channel, k + 8, sums_c);
  store(run, channel, k + 12, sums_d);
  store(run, channel, k + 16, sums_e);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn combine(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (i >= combine_params.images * combine_params.width) { return; }
  let image = i / combine_params.width;
  let column = i % combine_params.width;
  var total = 0.0;
  for (var run = 0u; run < combine_params.runs; run++) {
    total += partials[(image * combine_params.runs + run) * combine_params.width + column];
  }
  totals[i] = total;
}
