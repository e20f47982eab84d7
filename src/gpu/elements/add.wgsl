// sums[i] += values[i], one invocation an element.
override WORKGROUP: u32 = 64;

struct Params { first: u32, end: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (index >= params.end) { return; }
  sums[index] += values[index];
}
