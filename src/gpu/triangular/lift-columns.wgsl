// Moves columns of a panel's lower triangle into the strip, a workgroup a row: zeros are left behind, and stand in the strip above
// the diagonal and past the last column.
const WIDE: u32 = 256u;

struct Params { first_column: u32, end_column: u32, stride: u32, first_local_row: u32, panel_first_row: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> panel: array<f32>;
@group(0) @binding(2) var<storage, read_write> strip: array<f32>;

@compute @workgroup_size(WIDE)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let local_row = params.first_local_row + group.x;
  let row = params.panel_first_row + local_row;
  let column = params.first_column + lane;
  let inside = column < params.end_column && column <= row;
  let at = local_row * params.stride + column;
  var value = 0.0;
  if (inside) {
    value = panel[at];
    panel[at] = 0.0;
  }
  strip[row * WIDE + lane] = value;
}
