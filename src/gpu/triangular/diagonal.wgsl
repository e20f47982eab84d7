// Reads the diagonal of one panel into a vector, or changes it: what the vector says is added.
override WORKGROUP: u32 = 64;
override ADD: bool = false;

struct Params { first_row: u32, rows: u32, stride: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> panel: array<f32>;
@group(0) @binding(2) var<storage, read_write> diagonal: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.x;
  if (row >= params.rows) { return; }
  let index = row * params.stride + params.first_row + row;
  if (ADD) { panel[index] += diagonal[params.first_row + row]; }
  else { diagonal[params.first_row + row] = panel[index]; }
}
