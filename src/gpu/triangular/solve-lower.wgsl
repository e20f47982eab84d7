// Y = X · L^-T for the columns of one diagonal block of L, each row by substitution from left to right. What columns before the
// block make of it has been subtracted. One invocation a row.
const BLOCK: u32 = 32u;
const LANES: u32 = 64u;

struct Params {
  first_column: u32,
  size: u32,
  x_stride: u32,
  x_offset: u32,
  y_stride: u32,
  y_offset: u32,
  factor_row: u32,
  factor_stride: u32,
  first_row: u32,
  end_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> diagonal: array<f32, BLOCK * BLOCK>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  for (var i = lane; i < BLOCK * BLOCK; i += LANES) {
    let row = i / BLOCK;
    let column = i % BLOCK;
    let inside = row < params.size && column <= row;
    let at = (params.factor_row + min(row, params.size - 1u)) * params.factor_stride + params.first_column + column;
    diagonal[i] = select(0.0, factor[at], inside);
  }
  workgroupBarrier();
  let row = params.first_row + group.x * LANES + lane;
  if (row >= params.end_row) { return; }
  let source = params.x_offset + row * params.x_stride + params.first_column;
  let target_at = params.y_offset + row * params.y_stride + params.first_column;
  var solved = array<f32, BLOCK>();
  for (var j = 0u; j < params.size; j++) {
    var value = x[source + j];
    for (var i = 0u; i < j; i++) { value -= solved[i] * diagonal[j * BLOCK + i]; }
    solved[j] = value / diagonal[j * BLOCK + j];
    y[target_at + j] = solved[j];
  }
}
