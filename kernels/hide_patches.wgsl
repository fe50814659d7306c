// Hides square patches of images (masked image consistency, Hoyer et al., 2023, section 3.2):
//   y = M x, M = kept of the patch that the pixel lies in, 1 or 0
//
// x, y: [N, channels, height, width]; kept: [N, rows, columns], the patches of `side` pixels from the
// upper left, the last of which may be cut; pixels = N height width. One invocation owns a pixel of
// all channels of y and overwrites it.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> kept: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

struct Params {
  pixels: u32,
  channels: u32,
  height: u32,
  width: u32,
  rows: u32,
  columns: u32,
  side: u32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn hide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pixel = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (pixel >= params.pixels) { return; }
  let plane = params.height * params.width;
  let image = pixel / plane;
  let row = pixel % plane / params.width / params.side;
  let column = pixel % params.width / params.side;
  let is_kept = kept[(image * params.rows + row) * params.columns + column] != 0;
  let first = image * params.channels * plane + pixel % plane;
  for (var channel = 0u; channel < params.channels; channel++) {
    let i = first + channel * plane;
    y[i] = select(0, x[i], is_kept);
  }
}
