// What both steps of a refinement know of codes, scales and the order of the walk. Eight invocations share a row; eight
// rows make a workgroup.
const ROWS: u32 = 8u;
const LANES_PER_ROW: u32 = 8u;
const LANES: u32 = ROWS * LANES_PER_ROW;
const MAX_WIDTH: u32 = 128u;

struct Params {
  rows: u32,
  columns: u32,
  dtype: u32,
  scale_kind: u32,
  cell_rows: u32,
  cells_per_row: u32,
  q_min: f32,
  q_max: f32,
  global_scale: f32,
  // The block of columns: its first one in the order of the walk, how many, and how many share a scale.
  first: u32,
  width: u32,
  group_size: u32,
  // Floats from row to row of `gradient`, `gram` and `changes`.
  stride: u32,
  // 1 if the block's scales were fitted just before: what that changed stays counted.
  fitted: u32,
  first_group: u32,
}

// A column of the walk: its place in the weight, its group, and its place in the order of elimination.
struct Column { original: u32, group: u32, place: u32, unused: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> columns: array<Column>;
// The block's part of the Hessian.
@group(0) @binding(2) var<storage, read> gram: array<f32>;

fn cell_of(row: u32, group: u32) -> u32 {
  return row / params.cell_rows * params.cells_per_row + group;
}

fn value_of(number: f32, scale: f32) -> f32 {
  return round_to_dtype(number * scale, params.dtype);
}
