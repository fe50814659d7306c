// Correlation of images with packed weights: the forward of a convolution, and its input gradient.
//
//   y[n][o][i y_step + y_top][j y_step + y_left] = bias[o] + Σ_{u,v,c}
//     weight[u][v][c][o] x[n][c][i x_step + u tap_step + x_top][j x_step + v tap_step + x_left]
//
//   plus what y held where ACCUMULATE is true
//
// for i < rows, j < columns; x counts as zero outside its height and width.
// Forward: x_step is the stride, tap_step the dilation, x_top = x_left = -padding, y_step 1.
// Input gradient: x is the gradient of the output, taps are reversed, and every residue of the
// input's coordinates modulo the stride is a correlation of its own with y_step the stride.
//
// x: [N, in_channels, in_height, in_width]; y: [N, out_channels, out_height, out_width]; weight:
// [tap_rows, tap_columns, in_channels, out_quads], quads of neighbouring output channels.
// An invocation owns CHANNELS output channels × POSITIONS of the plane of one image, and overwrites
// or adds to them (correlate_narrow: NARROW_CHANNELS, where more would mostly lie past the last
// channel). See matmul.wgsl for the reasons of this shape. Blocks of channels, then images, count fastest:
// invocations that run together then look at the same positions, and skip a tap together where all
// of those lie outside.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

struct Params {
  images: u32,
  in_channels: u32,
  in_height: u32,
  in_width: u32,
  out_channels: u32,
  out_height: u32,
  out_width: u32,
  rows: u32,
  columns: u32,
  tap_rows: u32,
  tap_columns: u32,
  tap_step: i32,
  x_step: i32,
  x_top: i32,
  x_left: i32,
  y_step: u32,
  y_top: u32,
  y_left: u32,
  has_bias: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

// Whether to add to what y holds: known when the kernel is compiled, as software adapters pay for
// the question.
override ACCUMULATE: bool = false;
const LANES = 8u;
// What an invocation owns, written out in the entry points.
const POSITIONS = 16u;
const CHANNELS = 16u;
const NARROW_CHANNELS = 8u;

// What one invocation owns: the first channel, the image, the first position.
struct Share { channel: u32, image: u32, position: u32 }

fn share_of(id: u32, channels: u32) -> Share {
  let blocks = (params.out_channels + channels - 1) / channels;
  let image = id / blocks % params.images;
  return Share(id % blocks * channels, image, id / blocks / params.images * POSITIONS);
}

// Four positions of an image: the row and column of each.
struct Positions { image: u32, row: vec4u, column: vec4u }

// Past the end the last position is computed again.
fn positions_at(image: u32, first: u32) -> Positions {
  let position = min(first + vec4u(0, 1, 2, 3), vec4u(params.rows * params.columns - 1));
  return Positions(image, position / params.columns, position % params.columns);
}

// Where one tap reads the first channel at four positions. Outside the image `inside` is false and
// the index is zero, so that reading it is harmless.
struct Reads { index: vec4u, inside: vec4<bool> }

fn reads_at(p: Positions, u: u32, v: u32) -> Reads {
  let row = vec4u(vec4i(p.row) * params.x_step + (i32(u) * params.tap_step + params.x_top));
  let column = vec4u(vec4i(p.column) * params.x_step + (i32(v) * params.tap_step + params.x_left));
  // A negative coordinate is a huge unsigned one.
  let inside = (row < vec4u(params.in_height)) & (column < vec4u(params.in_width));
  let plane = params.in_height * params.in_width;
  let index = p.image * (params.in_channels * plane) + row * params.in_width + column;
  return Reads(select(vec4u(), index, inside), inside);
}

fn load(reads: Reads, offset: u32) -> vec4f {
  let i = reads.index + offset;
  return select(vec4f(), vec4f(x[i.x], x[i.y], x[i.z], x[i.w]), reads.inside);
}

// Column i of the result is x y[i].
fn outer(x: vec4f, y: vec4f) -> mat4x4f {
  return mat4x4f(x * y.x, x * y.y, x * y.z, x * y.w);
}

// Where y has one channel of four positions.
fn outputs_at(channel: u32, p: Positions) -> vec4u {
  let plane = params.out_height * params.out_width;
  return (p.image * params.out_channels + channel) * plane +
    (p.row * params.y_step + params.y_top) * params.out_width +
    p.column * params.y_step + params.y_left;
}

// One channel of y at sixteen positions, or zeros. Asked before the first of them is stored, as the
// last position may be among them several times.
fn held(channel: u32, p0: Positions, p1: Positions, p2: Positions, p3: Positions) -> mat4x4f {
  if (!ACCUMULATE) { return mat4x4f(); }
  return mat4x4f(
    y_at(outputs_at(channel, p0)),
    y_at(outputs_at(channel, p1)),
    y_at(outputs_at(channel, p2)),
    y_at(outputs_at(channel, p3)),
  );
}

fn y_at(i: vec4u) -> vec4f { return vec4f(y[i.x], y[i.y], y[i.z], y[i.w]); }

// Writes one channel of four positions.
fn store(channel: u32, p: Positions, sums: vec4f) {
  let at = outputs_at(channel, p);
  var values = sums;
  if (params.has_bias == 1) { values += bias[channel]; }
  y[at.x] = values.x;
  y[at.y] = values.y;
  y[at.z] = values.z;
  y[at.w] = values.w;
}

@compute @workgroup_size(LANES)
fn correlate(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let own = share_of((group.y * groups.x + group.x) * LANES + lane, CHANNELS);
  if (own.position >= params.rows * params.columns) { return; }
  let p0 = positions_at(own.image, own.position);
  let p1 = positions_at(own.image, own.position + 4);
  let p2 = positions_at(own.image, own.position + 8);
  let p3 = positions_at(own.image, own.position + 12);
  let out_quads = (params.out_channels + 3) / 4;
  let in_plane = params.in_height * params.in_width;
  let quads = min(own.channel / 4 + vec4u(0, 1, 2, 3), vec4u(out_quads - 1));
  var c00 = mat4x4f(); var c01 = mat4x4f(); var c02 = mat4x4f(); var c03 = mat4x4f();
  var c10 = mat4x4f(); var c11 = mat4x4f(); var c12 = mat4x4f(); var c13 = mat4x4f();
  var c20 = mat4x4f(); var c21 = mat4x4f(); var c22 = mat4x4f(); var c23 = mat4x4f();
  var c30 = mat4x4f(); var c31 = mat4x4f(); var c32 = mat4x4f(); var c33 = mat4x4f();
  for (var u = 0u; u < params.tap_rows; u++) {
    for (var v = 0u; v < params.tap_columns; v++) {
      let r0 = reads_at(p0, u, v);
      let r1 = reads_at(p1, u, v);
      let r2 = reads_at(p2, u, v);
      let r3 = reads_at(p3, u, v);
      // A dilated tap lies outside for whole rows of a small image.
      if (!any(r0.inside | r1.inside | r2.inside | r3.inside)) { continue; }
      var w = (u * params.tap_columns + v) * params.in_channels * out_quads + quads;
      var offset = 0u;
      for (var c = 0u; c < params.in_channels; c++) {
        let w0 = weight[w.x]; let w1 = weight[w.y]; let w2 = weight[w.z]; let w3 = weight[w.w];
        let x0 = load(r0, offset);
        let x1 = load(r1, offset);
        let x2 = load(r2, offset);
        let x3 = load(r3, offset);
        c00 += outer(x0, w0); c01 += outer(x1, w0); c02 += outer(x2, w0); c03 += outer(x3, w0);
        c10 += outer(x0, w1); c11 += outer(x1, w1); c12 += outer(x2, w1); c13 += outer(x3, w1);
        c20 += outer(x0, w2); c21 += outer(x1, w2); c22 += outer(x2, w2); c23 += outer(x3, w2);
        c30 += outer(x0, w3); c31 += outer(x1, w3); c32 += outer(x2, w3); c33 += outer(x3, w3);
        w += vec4u(out_quads);
        offset += in_plane;
      }
    }
  }
  // A loop over channels: drivers take many times longer to compile 256 stores written out.
  var blocks = array(c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33);
  for (var i = 0u; i < min(CHANNELS, params.out_channels - own.channel); i++) {
    let block = i / 4 * 4;
    let before = held(own.channel + i, p0, p1, p2, p3);
    store(own.channel + i, p0, before[0] + blocks[block][i % 4]);
    store(own.channel + i, p1, before[1] + blocks[block + 1][i % 4]);
    store(own.channel + i, p2, before[2] + blocks[block + 2][i % 4]);
    store(own.channel + i, p3, before[3] + blocks[block + 3][i % 4]);
  }
}

@compute @workgroup_size(LANES)
fn correlate_narrow(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let own = share_of((group.y * groups.x + group.x) * LANES + lane, NARROW_CHANNELS);
  if (own.position >= params.rows * params.columns) { return; }
  let p0 = positions_at(own.image, own.position);
  let p1 = positions_at(own.image, own.position + 4);
  let p2 = positions_at(own.image, own.position + 8);
  let p3 = positions_at(own.image, own.position + 12);
  let out_quads = (params.out_channels + 3) / 4;
  let in_plane = params.in_height * params.in_width;
  let quads = min(own.channel / 4 + vec2u(0, 1), vec2u(out_quads - 1));
  var c00 = mat4x4f(); var c01 = mat4x4f(); var c02 = mat4x4f(); var c03 = mat4x4f();
  var c10 = mat4x4f(); var c11 = mat4x4f(); var c12 = mat4x4f(); var c13 = mat4x4f();
  for (var u = 0u; u < params.tap_rows; u++) {
    for (var v = 0u; v < params.tap_columns; v++) {
      let r0 = reads_at(p0, u, v);
      let r1 = reads_at(p1, u, v);
      let r2 = reads_at(p2, u, v);
      let r3 = reads_at(p3, u, v);
      if (!any(r0.inside | r1.inside | r2.inside | r3.inside)) { continue; }
      var w = (u * params.tap_columns + v) * params.in_channels * out_quads + quads;
      var offset = 0u;
      for (var c = 0u; c < params.in_channels; c++) {
        let w0 = weight[w.x]; let w1 = weight[w.y];
        let x0 = load(r0, offset);
        let x1 = load(r1, offset);
        let x2 = load(r2, offset);
        let x3 = load(r3, offset);
        c00 += outer(x0, w0); c01 += outer(x1, w0); c02 += outer(x2, w0); c03 += outer(x3, w0);
        c10 += outer(x0, w1); c11 += outer(x1, w1); c12 += outer(x2, w1); c13 += outer(x3, w1);
        w += vec2u(out_quads);
        offset += in_plane;
      }
    }
  }
  var blocks = array(c00, c01, c02, c03, c10, c11, c12, c13);
  for (var i = 0u; i < min(NARROW_CHANNELS, params.out_channels - own.channel); i++) {
    let block = i / 4 * 4;
    let before = held(own.channel + i, p0, p1, p2, p3);
    store(own.channel + i, p0, before[0] + blocks[block][i % 4]);
    store(own.channel + i, p1, before[1] + blocks[block + 1][i % 4]);
    store(own.channel + i, p2, before[2] + blocks[block + 2][i % 4]);
    store(own.channel + i, p3, before[3] + blocks[block + 3][i % 4]);
  }
}
