// Counts elements that are NaN or infinite, by their bits: compilers may assume that neither
// occurs, and fold x != x to false. Nor need arithmetic hand a NaN on: exp() of one is infinite on
// some adapters. So what must not be missed, in weights and logits, is counted here, where it lies.
//
// x: any shape, `count` elements. total: one counter, to which every invocation adds what it finds
// among its RUN elements, `stride` apart as in elementwise.wgsl; integers add up the same in any
// order.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> total: array<atomic<u32>>;

struct Params { count: u32, stride: u32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const RUN = 16u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn count(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let block = (group.y * groups.x + group.x) * WORKGROUP_SIZE * RUN;
  let first = block + local * select(1, RUN, params.stride == 1);
  let end = min(first + RUN * params.stride, params.count);
  var found = 0u;
  for (var i = first; i < end; i += params.stride) {
    found += u32((bitcast<u32>(x[i]) & 0x7fffffff) >= 0x7f800000);
  }
  if (found > 0) { atomicAdd(&total[0], found); }
}
