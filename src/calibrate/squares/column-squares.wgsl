// Adds Σx² of each column over some rows to `sums`. A workgroup has a strip of columns; its lanes go through the rows side by
// side and are added up in a fixed order.
const STRIP: u32 = 32u;
const ROW_LANES: u32 = 8u;

struct Params { first_row: u32, end_row: u32, columns: u32, stride: u32, offset: u32, first_strip: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

var<workgroup> partial: array<f32, STRIP * ROW_LANES>;

@compute @workgroup_size(STRIP, ROW_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = (params.first_strip + group.x) * STRIP + local.x;
  var sum = 0.0;
  if (column < params.columns) {
    for (var row = params.first_row + local.y; row < params.end_row; row += ROW_LANES) {
      let value = values[params.offset + row * params.stride + column];
      sum += value * value;
    }
  }
  partial[local.y * STRIP + local.x] = sum;
  for (var half = ROW_LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local.y < half) { partial[local.y * STRIP + local.x] += partial[(local.y + half) * STRIP + local.x]; }
  }
  if (local.y == 0u && column < params.columns) { sums[column] += partial[local.x]; }
}
