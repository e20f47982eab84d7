// Sets the stored part above the diagonal to zero, so that a panel can be an operand of an ordinary product.
override WORKGROUP: u32 = 64;

struct Params { first_row: u32, rows: u32, stride: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> panel: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column = params.first_row + group.y * WORKGROUP + lane;
  let row = params.first_row + group.x;
  if (column > row && column < params.stride) { panel[group.x * params.stride + column] = 0.0; }
}
