// y = columns of rows of x, of the same rows or of those that `index` names.
override WORKGROUP: u32 = 64;
override INDEXED: bool = false;

struct Params {
  // In vec4.
  columns: u32,
  x_stride: u32,
  x_offset: u32,
  y_stride: u32,
  y_offset: u32,
  // Entry of `index` for the first row.
  first_index: u32,
  first: u32,
  end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

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
  var from_row = row;
  if (INDEXED) { from_row = index[params.first_index + row]; }
  y[params.y_offset + row * params.y_stride + column] = x[params.x_offset + from_row * params.x_stride + column];
}
