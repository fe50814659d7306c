// Half precision as storage: pairs of 32-bit floats packed into words of two 16-bit floats, rounded
// to nearest, and unpacked. Floats beyond the largest half, 65504, become it.
//
// values: pairs of floats [count]; words: [count]. An invocation owns RUN pairs that lie `stride`
// apart, and overwrites.

// A word is two halves, no integer; the alias says so.
alias Word = u32;

@group(0) @binding(0) var<storage, read> values: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> words: array<Word>;
@group(0) @binding(2) var<storage, read> packed_words: array<Word>;
@group(0) @binding(3) var<storage, read_write> unpacked: array<vec2f>;

struct Params { count: u32, stride: u32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const RUN = 16u;
const LARGEST = 65504.0;

// The first of an invocation's elements: runs of one invocation interleave with `stride` − 1
// others.
fn first_of(invocation: u32) -> u32 {
  return invocation / params.stride * params.stride * RUN + invocation % params.stride;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn pack(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let first = first_of(id.y * groups.x * WORKGROUP_SIZE + id.x);
  for (var k = 0u; k < RUN; k++) {
    let i = first + k * params.stride;
    if (i < params.count) {
      words[i] = pack2x16float(clamp(values[i], vec2f(-LARGEST), vec2f(LARGEST)));
    }
  }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn unpack(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let first = first_of(id.y * groups.x * WORKGROUP_SIZE + id.x);
  for (var k = 0u; k < RUN; k++) {
    let i = first + k * params.stride;
    if (i < params.count) { unpacked[i] = unpack2x16float(packed_words[i]); }
  }
}
