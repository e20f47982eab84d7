// Adds Σx² of each column over some rows to `sums`, as column-strips.wgsl cuts them.
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

var<workgroup> partial: array<f32, STRIP * ROW_LANES>;

@compute @workgroup_size(STRIP, ROW_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = (params.first_strip + group.x) * STRIP + local.x;
  let own = local.y * params.columns + column;
  let blocks = ROW_LANES * params.columns + column;
  var sum = 0.0;
  if (column < params.columns) {
    if (params.fresh == 0u) { sum = lane_sums[own]; }
    for (var row = first_row_of(local.y); row < params.end_row; row += ROW_LANES) {
      let value = values[params.offset + row * params.stride + column];
      sum += value * value;
    }
    lane_sums[own] = select(sum, 0.0, params.ends == 1u);
  }
  partial[local.y * STRIP + local.x] = sum;
  for (var half = ROW_LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local.y < half) { partial[local.y * STRIP + local.x] += partial[(local.y + half) * STRIP + local.x]; }
  }
  if (local.y != 0u || column >= params.columns) { return; }
  var before = 0.0;
  if (params.fresh == 0u) { before = lane_sums[blocks]; }
  let all = before + partial[local.x];
  sums[column] = all;
  lane_sums[blocks] = select(before, all, params.ends == 1u);
}
