// The quality of the pseudo labels of images, for each of their pixels (DACS, Tranheden et al., 2021;
// DAFormer, Hoyer et al., 2022, equation 3): the share of an image's pixels that are surer than a
// threshold. Pixels whose confidence is 0 lie outside the image and are none of it; the quality is 0
// where an image has no pixel.
//
// confidence, quality: [N, plane]. A workgroup owns an image of quality and overwrites it.

@group(0) @binding(0) var<storage, read> confidence: array<f32>;
@group(0) @binding(1) var<storage, read_write> quality: array<f32>;

struct Params { plane: u32, threshold: f32 }
@group(1) @binding(0) var<uniform> params: Params;

const WORKGROUP_SIZE = 64u;

var<workgroup> counts: array<vec2u, WORKGROUP_SIZE>; // (sure pixels, pixels)

@compute @workgroup_size(WORKGROUP_SIZE)
fn measure(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let first = (group.y * groups.x + group.x) * params.plane;
  var own = vec2u(0);
  for (var pixel = local; pixel < params.plane; pixel += WORKGROUP_SIZE) {
    let sure = confidence[first + pixel];
    own += select(vec2u(0), vec2u(1), vec2<bool>(sure > params.threshold && sure > 0, sure > 0));
  }
  counts[local] = own;
  workgroupBarrier();
  var all = vec2u(0); // whole numbers, so that every invocation has the same
  for (var i = 0u; i < WORKGROUP_SIZE; i++) { all += counts[i]; }
  let share = select(0, f32(all.x) / f32(all.y), all.y > 0);
  for (var pixel = local; pixel < params.plane; pixel += WORKGROUP_SIZE) {
    quality[first + pixel] = share;
  }
}
