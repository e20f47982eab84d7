// y = y - x, rows of each with a stride of their own.
override WORKGROUP: u32 = 64;

struct Params {
  // In vec4.
  columns: u32,
  x_stride: u32,
  x_offset: u32,
  y_stride: u32,
  y_offset: u32,
  first: u32,
  end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  let row = item / params.columns;
  let column = item % params.columns;
  let at = params.y_offset + row * params.y_stride + column;
  y[at] = y[at] - x[params.x_offset + row * params.x_stride + column];
}
