// Channel concatenation, a part at a time: all in one dispatch would need a binding for each.
//
// join: joined[n][first + c][i] = part[n][c][i]
// cut:  part[n][c][i] = joined[n][first + c][i]
//
// part: [N, channels, plane] elements, `count` in all; joined: [N, total channels, plane], of which
// `image_step` elements lie between two images. An invocation owns RUN elements of the part,
// `stride` apart as in elementwise.wgsl, and overwrites them where they go.

@group(0) @binding(0) var<storage, read> from_part: array<f32>;
@group(0) @binding(1) var<storage, read_write> joined: array<f32>;
@group(0) @binding(2) var<storage, read> from_joined: array<f32>;
@group(0) @binding(3) var<storage, read_write> part: array<f32>;

struct Params { count: u32, stride: u32, image: u32, image_step: u32, first: u32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const RUN = 16u;

// The elements of an invocation: the first, and what lies past the last.
fn range_of(group: vec3u, groups: vec3u, local: u32) -> vec2u {
  let block = (group.y * groups.x + group.x) * WORKGROUP_SIZE * RUN;
  let first = block + local * select(1, RUN, params.stride == 1);
  return vec2u(first, min(first + RUN * params.stride, params.count));
}

// Where element i of the part lies in what is joined.
fn place(i: u32) -> u32 {
  return i / params.image * params.image_step + params.first + i % params.image;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn join(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let own = range_of(group, groups, local);
  for (var i = own.x; i < own.y; i += params.stride) { joined[place(i)] = from_part[i]; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn cut(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let own = range_of(group, groups, local);
  for (var i = own.x; i < own.y; i += params.stride) { part[i] = from_joined[place(i)]; }
}
