// x = x · factor, with one factor for all, which lies in a buffer.
override WORKGROUP: u32 = 64;

struct Params {
  // In vec4.
  stride: u32,
  columns: u32,
  x: u32,
  first: u32,
  end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  x[params.x + item / params.columns * params.stride + item % params.columns] *= factor[0];
}
