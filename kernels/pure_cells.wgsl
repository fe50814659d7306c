// Cells of a coarse map of labels that one wanted class fills (DAFormer, equations 8 and 9):
//   cell = 1 if the share of some wanted class in its window of labels is at least `share`, else 0.
// The window of cell (y, x) is rows ⌊y H / h⌋ to ⌈(y + 1) H / h⌉ and columns alike, as in adaptive
// average pooling: H / h × W / w pixels where these divide.
//
// labels: [N, H, W]; wanted: [K], 0 or 1; cells: [N, h, w]. An invocation owns one cell and
// overwrites it. As the share is above one half, the class can only be the majority's: one pass finds
// who that would be (Boyer and Moore, 1981), another counts its pixels.

@group(0) @binding(0) var<storage, read> labels: array<u32>;
@group(0) @binding(1) var<storage, read> wanted: array<u32>;
@group(0) @binding(2) var<storage, read_write> cells: array<u32>;

struct Params {
  count: u32,
  height: u32,
  width: u32,
  rows: u32,
  columns: u32,
  classes: u32,
  share: f32,
}
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

// First and last but one place of a window.
fn window(at: u32, length: u32, parts: u32) -> vec2u {
  return vec2u(at * length / parts, ((at + 1) * length + parts - 1) / parts);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn mark(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let cell = id.y * groups.x * WORKGROUP_SIZE + id.x;
  if (cell >= params.count) { return; }
  let plane = params.rows * params.columns;
  let first = cell / plane * params.height * params.width;
  let ys = window(cell % plane / params.columns, params.height, params.rows);
  let xs = window(cell % params.columns, params.width, params.columns);
  var candidate = 0u;
  var votes = 0u;
  for (var y = ys.x; y < ys.y; y++) {
    for (var x = xs.x; x < xs.y; x++) {
      let label = labels[first + y * params.width + x];
      if (votes == 0) { candidate = label; }
      votes = select(votes - 1, votes + 1, label == candidate);
    }
  }
  var pixels = 0u;
  for (var y = ys.x; y < ys.y; y++) {
    for (var x = xs.x; x < xs.y; x++) {
      pixels += u32(labels[first + y * params.width + x] == candidate);
    }
  }
  let area = (ys.y - ys.x) * (xs.y - xs.x);
  let is_wanted = candidate < params.classes && wanted[min(candidate, params.classes - 1)] != 0;
  cells[cell] = u32(is_wanted && f32(pixels) >= params.share * f32(area));
}
