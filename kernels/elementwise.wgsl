// Element-wise maps: y[i] = f(a[i]), y[i] = f(a[i], b[i]), in place y[i] = f(y[i], b[i]), or
// y[i] = factor.
//
// a, b, y: any shape, all the same, `count` elements.
// One invocation owns RUN elements of y, `stride` apart: neighbours in memory on a CPU adapter, one
// workgroup apart on a GPU, where neighbouring invocations then touch neighbouring elements. It
// loads four elements before it uses the first, so that a GPU waits for all of them at once.
// in_place reads and overwrites y, the others overwrite it.

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

struct Params { count: u32, stride: u32, factor: f32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;
const RUN = 16u;

const SCALE = 1u;
const LEAKY_RELU = 2u;
const SIGMOID = 3u;
const ADD = 4u;
const ADD_RELU = 5u;
const MULTIPLY = 6u;
const LERP = 7u;
const LEAKY_RELU_GRADIENT = 8u;
const SIGMOID_GRADIENT = 9u;

override OPERATION: u32 = 0;

// By its bits, as compilers may assume that there is none.
fn is_nan(value: f32) -> bool {
  return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

// OPERATION is known when the pipeline is built, so one case of the switch remains.
fn formula(a: f32, b: f32) -> f32 {
  switch OPERATION {
    case SCALE: { return a * params.factor; }
    // Both and the sigmoid let NaN through, so that it is noticed: this one looks at the sign's bit
    // alone.
    case LEAKY_RELU: { return select(a, a * params.factor, bitcast<i32>(a) < 0); }
    case SIGMOID: { return select(1 / (1 + exp(-a)), a, is_nan(a)); }
    case ADD: { return a + b; }
    case ADD_RELU: { return select(a + b, 0, a + b < 0 && !is_nan(a + b)); }
    case MULTIPLY: { return a * b; }
    case LERP: { return a + (b - a) * params.factor; }
    // The gradients take a = grad_output and b = the forward's output.
    case LEAKY_RELU_GRADIENT: { return select(a * params.factor, a, b > 0); }
    case SIGMOID_GRADIENT: { return a * b * (1 - b); }
    default: { return a; }
  }
}

fn first_element(group: vec3u, groups: vec3u, local: u32) -> u32 {
  let block = (group.y * groups.x + group.x) * WORKGROUP_SIZE * RUN;
  return block + local * select(1, RUN, params.stride == 1);
}

// Four elements of an invocation.
fn store(i: u32, first: f32, second: f32, third: f32, fourth: f32) {
  y[i] = first;
  y[i + params.stride] = second;
  y[i + 2 * params.stride] = third;
  y[i + 3 * params.stride] = fourth;
}

fn end_element(first: u32) -> u32 {
  return min(first + RUN * params.stride, params.count);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn unary(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let first = first_element(group, groups, local);
  let end = end_element(first);
  let step = params.stride;
  var i = first;
  for (; i + 3 * step < end; i += 4 * step) {
    let four = vec4f(a[i], a[i + step], a[i + 2 * step], a[i + 3 * step]);
    store(i, formula(four.x, 0), formula(four.y, 0), formula(four.z, 0), formula(four.w, 0));
  }
  for (; i < end; i += step) { y[i] = formula(a[i], 0); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn binary(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let first = first_element(group, groups, local);
  let end = end_element(first);
  let step = params.stride;
  var i = first;
  for (; i + 3 * step < end; i += 4 * step) {
    let p = vec4f(a[i], a[i + step], a[i + 2 * step], a[i + 3 * step]);
    let q = vec4f(b[i], b[i + step], b[i + 2 * step], b[i + 3 * step]);
    store(i, formula(p.x, q.x), formula(p.y, q.y), formula(p.z, q.z), formula(p.w, q.w));
  }
  for (; i < end; i += step) { y[i] = formula(a[i], b[i]); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn in_place(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let first = first_element(group, groups, local);
  let end = end_element(first);
  let step = params.stride;
  var i = first;
  for (; i + 3 * step < end; i += 4 * step) {
    let p = vec4f(y[i], y[i + step], y[i + 2 * step], y[i + 3 * step]);
    let q = vec4f(b[i], b[i + step], b[i + 2 * step], b[i + 3 * step]);
    store(i, formula(p.x, q.x), formula(p.y, q.y), formula(p.z, q.z), formula(p.w, q.w));
  }
  for (; i < end; i += step) { y[i] = formula(y[i], b[i]); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn fill(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let first = first_element(group, groups, local);
  let end = end_element(first);
  for (var i = first; i < end; i += params.stride) { y[i] = params.factor; }
}
