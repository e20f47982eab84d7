// y += scale · bias, row by row.
override WORKGROUP: u32 = 64;

struct Params {
  columns: u32,
  stride: u32,
  offset: u32,
  first: u32,
  end: u32,
  bias_first: u32,
  bias_step: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  let column = item % params.columns;
  let at = params.offset + item / params.columns * params.stride + column;
  y[at] += params.scale * bias[params.bias_first + column * params.bias_step];
}
