// The scales of groups over the scale of the whole tensor, as loaders divide them in float32 (NVFP4).
override WORKGROUP: u32 = 64;

struct Params { count: u32, global_scale: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> scales: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (index >= params.count) { return; }
  scales[index] = divide(scales[index], params.global_scale);
}
