// Element-wise maps: y[i] = f(a[i]), y[i] = f(a[i], b[i]), or in place y[i] = f(y[i], b[i]).
//
// a, b, y: any shape, all the same; `count` counts vec4 groups, or elements in the *_scalar entries.
// One invocation owns one vec4 of y (one element in the *_scalar entries, for sizes that four does not
// divide); the in-place entries read and overwrite it, the others overwrite.

@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read> b: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read> a_scalar: array<f32>;
@group(0) @binding(4) var<storage, read> b_scalar: array<f32>;
@group(0) @binding(5) var<storage, read_write> y_scalar: array<f32>;

struct Params { count: u32, factor: f32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 128u;

const COPY = 0u;
const SCALE = 1u;
const LEAKY_RELU = 2u;
const SIGMOID = 3u;
const ADD = 4u;
const ADD_RELU = 5u;
const MULTIPLY = 6u;
const LERP = 7u;
const LEAKY_RELU_GRADIENT = 8u;
const SIGMOID_GRADIENT = 9u;

override OPERATION: u32 = COPY;

// Every formula, on four elements; OPERATION is known when the pipeline is built, so one case stays.
fn formula(a: vec4f, b: vec4f) -> vec4f {
  switch OPERATION {
    case SCALE: { return a * params.factor; }
    // Comparisons with "less" let NaN through, so that it is found where it arises.
    case LEAKY_RELU: { return select(a, a * params.factor, a < vec4f(0)); }
    case SIGMOID: { return 1 / (1 + exp(-a)); }
    case ADD: { return a + b; }
    case ADD_RELU: { return select(a + b, vec4f(0), a + b < vec4f(0)); }
    case MULTIPLY: { return a * b; }
    case LERP: { return a + (b - a) * params.factor; }
    // The gradients take a = gradOutput and b = the forward's output.
    case LEAKY_RELU_GRADIENT: { return select(a * params.factor, a, b > vec4f(0)); }
    case SIGMOID_GRADIENT: { return a * b * (1 - b); }
    default: { return a; }
  }
}

fn flat_index(id: vec3u, groups: vec3u) -> u32 {
  return id.y * groups.x * WORKGROUP_SIZE + id.x;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn unary(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { y[i] = formula(a[i], vec4f(0)); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn unary_scalar(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { y_scalar[i] = formula(vec4f(a_scalar[i]), vec4f(0)).x; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn binary(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { y[i] = formula(a[i], b[i]); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn binary_scalar(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { y_scalar[i] = formula(vec4f(a_scalar[i]), vec4f(b_scalar[i])).x; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn in_place(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { y[i] = formula(y[i], b[i]); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn in_place_scalar(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { y_scalar[i] = formula(vec4f(y_scalar[i]), vec4f(b_scalar[i])).x; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn fill(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i < params.count) { y_scalar[i] = params.factor; }
}
