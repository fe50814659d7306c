// Copies numbers, and does next to nothing: what memory and what a launch cost.
//
// from, to: (n) vectors of four; an invocation owns one of `to`; overwrites.
// counter: (1); `count` adds 1, so that every launch waits for the one before.

@group(0) @binding(0) var<storage, read> from_array: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> to_array: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> counter: array<u32>;

@compute @workgroup_size(256)
fn copy(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let place = id.y * groups.x * 256u + id.x;
  to_array[place] = from_array[place];
}

@compute @workgroup_size(1)
fn count() {
  counter[0] = counter[0] + 1u;
}
