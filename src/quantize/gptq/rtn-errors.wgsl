// What rounding to nearest costs: w − Q(w) for every column, in the order of elimination, for the comparison that the report
// shows; and its codes, where they are to be refined. One invocation per weight.
override WORKGROUP: u32 = 64;

// See walk-block.wgsl.
const LEAST_SCALE: f32 = 1.1754943508222875e-38;

struct Params {
  rows: u32,
  columns: u32,
  dtype: u32,
  cell_rows: u32,
  cells_per_row: u32,
  q_min: f32,
  q_max: f32,
  error_stride: u32,
  keeps_codes: u32,
  first_row: u32,
  end_row: u32,
}

struct Column { original: u32, group: u32, dead: u32, unused: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<Column>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read> zero_points: array<i32>;
@group(0) @binding(5) var<storage, read_write> errors: array<f32>;
@group(0) @binding(6) var<storage, read_write> codes: array<i32>;

fn weight_at(index: u32) -> f32 {
  if (params.dtype == DTYPE_F32) { return bitcast<f32>(weights[index]); }
  return widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, params.dtype);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = params.first_row + group.y;
  let a = group.x * WORKGROUP + lane;
  if (row >= params.end_row || a >= params.columns) { return; }
  let column = order[a];
  let weight = select(weight_at(row * params.columns + column.original), 0.0, column.dead == 1u);
  let cell = row / params.cell_rows * params.cells_per_row + column.group;
  let zero_point = f32(zero_points[cell]);
  let scale = max(scales[cell], LEAST_SCALE);
  let number = nearest_number(weight / scale + zero_point, params.q_min, params.q_max);
  if (params.keeps_codes == 1u) { codes[row * params.columns + column.original] = code_of(number); }
  errors[row * params.error_stride + a] = weight - round_to_dtype((number - zero_point) * scale, params.dtype);
}
