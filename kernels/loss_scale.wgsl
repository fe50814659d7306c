// Dynamic loss scaling (Micikevicius et al., "Mixed Precision Training", ICLR 2018): what a step
// does, and the scale of the next one.
//
// judge: finite gradients: factor = 1 / scale; every `patience` such steps in a row double the scale
//        otherwise:        factor = 0, which says that no parameter moves; halves the scale
//
// found: how many elements of the step's gradients are not finite; state: (scale, finite steps since
// the scale last changed, factor). The only invocation updates the state in place.

@group(0) @binding(0) var<storage, read> found: array<u32>;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;

struct Params { patience: f32, largest: f32 }
@group(1) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(1)
fn judge() {
  let scale = state[0];
  let finite = found[0] == 0;
  state[2] = select(0.0, 1 / scale, finite);
  let steps = select(0.0, state[1] + 1, finite);
  let grows = steps >= params.patience;
  state[1] = select(steps, 0.0, grows);
  if (!finite) {
    state[0] = max(scale / 2, 1);
  } else if (grows) {
    state[0] = min(scale * 2, params.largest);
  }
}
