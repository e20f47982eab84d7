// What reductions of each column over some rows have in common. A workgroup has a strip of columns; its lanes go through the rows side
// by side and are joined in a fixed order. Sums of lanes go on where the rows before have left them, until their block ends: where rows
// are cut into dispatches changes nothing.
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
// Runs of `columns` values: what each lane has of the block under way, and the sum of all blocks before.
@group(0) @binding(3) var<storage, read_write> lane_sums: array<f32>;

// The first of a lane's rows.
fn first_row_of(lane: u32) -> u32 {
  return params.first_row + (lane + ROW_LANES - params.first_lane) % ROW_LANES;
}
