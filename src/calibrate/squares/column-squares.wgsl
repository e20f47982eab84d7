// Adds Σx² of each column over some rows to `sums`. A workgroup has a strip of columns; its lanes go through the rows side by
// side and are added up in a fixed order. Sums of lanes go on where the rows before have left them, until their block ends: where
// rows are cut into dispatches changes nothing.
const STRIP: u32 = 32u;
const ROW_LANES: u32 = 8u;

struct Params {
  first_row: u32,
  end_row: u32,
  columns: u32,
  stride: u32,
  offset: u32,
  first_strip: u32,
  // The lane of the first row.
  first_lane: u32,
  // 1 before anything was seen: what the buffers hold does not count.
  fresh: u32,
  // 1 if the last row ends a block.
  ends: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
// Runs of `columns` values: what each lane has of the block under way, and the sum of all blocks before.
@group(0) @binding(3) var<storage, read_write> lane_sums: array<f32>;

var<workgroup> partial: array<f32, STRIP * ROW_LANES>;

@compute @workgroup_size(STRIP, ROW_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = (params.first_strip + group.x) * STRIP + local.x;
  let own = local.y * params.columns + column;
  let blocks = ROW_LANES * params.columns + column;
  var sum = 0.0;
  if (column < params.columns) {
    if (params.fresh == 0u) { sum = lane_sums[own]; }
    let begin = params.first_row + (local.y + ROW_LANES - params.first_lane) % ROW_LANES;
    for (var row = begin; row < params.end_row; row += ROW_LANES) {
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
