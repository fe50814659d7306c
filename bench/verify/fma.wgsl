// The most multiply-adds that an adapter makes: x ← x · factor + term, over and over.
//
// x: (GROUPS · 128, 16) numbers in registers, 16 chains an invocation that depend on nothing but
// themselves, so that the latency of one is hidden behind the others.
// sums: an invocation writes the sum of its 16 to its own place; overwrites.
// With factor ½ and term 1 every x goes to 2, which both the kernel and the host know.

// The numbers that are multiplied; f16 in the other variant.
alias Element = f32;

@group(0) @binding(0) var<storage, read> settings: array<vec4f>; // factor, term, rounds, start
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(128)
fn multiply_add(
  @builtin(global_invocation_id) id: vec3u,
) {
  let setting = settings[0];
  let factor = vec4<Element>(Element(setting.x));
  let term = vec4<Element>(Element(setting.y));
  let rounds = u32(setting.z);
  var a = vec4<Element>(Element(setting.w), 1, 2, 3) + Element(id.x & 7u);
  var b = a + 1;
  var c = a + 2;
  var d = a + 3;
  for (var round = 0u; round < rounds; round++) {
    a = fma(a, factor, term);
    b = fma(b, factor, term);
    c = fma(c, factor, term);
    d = fma(d, factor, term);
    a = fma(a, factor, term);
    b = fma(b, factor, term);
    c = fma(c, factor, term);
    d = fma(d, factor, term);
    a = fma(a, factor, term);
    b = fma(b, factor, term);
    c = fma(c, factor, term);
    d = fma(d, factor, term);
    a = fma(a, factor, term);
    b = fma(b, factor, term);
    c = fma(c, factor, term);
    d = fma(d, factor, term);
  }
  let all = a + b + c + d;
  sums[id.x] = f32(all.x + all.y + all.z + all.w);
}
