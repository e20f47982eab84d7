// Quantizes the columns of one block, from the last to the first, for 16 rows at a time: each column's target is its
// weight plus what the errors of the columns before it push onto it. L is the Cholesky factor of the Hessian in the order
// of elimination, reversed (see reference.ts); a column's place in it is `a`, its place in the weight `original`.
//
// Sixteen invocations share a row; invocation t holds the pushes of the block's columns t, t + 16, … in registers. The
// owner of column a quantizes it and tells the others its error through workgroup memory, one barrier a column.
const ROWS: u32 = 16u;
const LANES_PER_ROW: u32 = 16u;
const COLUMNS_PER_LANE: u32 = 8u;
const BLOCK: u32 = LANES_PER_ROW * COLUMNS_PER_LANE;
const LANES: u32 = ROWS * LANES_PER_ROW;
// Errors of a block, one row after the other; the row's loss so far lies behind its errors.
const ERROR_STRIDE: u32 = BLOCK + 4u;

struct Params {
  rows: u32,
  columns: u32,
  dtype: u32,
  cells_per_row: u32,
  q_min: f32,
  q_max: f32,
  first: u32,
  end: u32,
  panel_first_row: u32,
  panel_stride: u32,
  pushed_stride: u32,
  first_group: u32,
}

struct Column { original: u32, group: u32, dead: u32, unused: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<Column>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read> zero_points: array<i32>;
@group(0) @binding(5) var<storage, read> factor: array<f32>;
@group(0) @binding(6) var<storage, read> pushed: array<f32>;
@group(0) @binding(7) var<storage, read_write> codes: array<i32>;
@group(0) @binding(8) var<storage, read_write> errors: array<f32>;

// Two sets, so that one barrier a column is enough.
var<workgroup> row_error: array<f32, 2u * ROWS>;
var<workgroup> row_loss: array<f32, LANES>;

fn weight_at(index: u32) -> f32 {
  if (params.dtype == DTYPE_F32) { return bitcast<f32>(weights[index]); }
  return widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, params.dtype);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let local_row = lane / LANES_PER_ROW;
  let t = lane % LANES_PER_ROW;
  let row = (params.first_group + group.x) * ROWS + local_row;
  let inside = row < params.rows;
  let safe_row = min(row, params.rows - 1u);
  let width = params.end - params.first;
  var push: array<f32, COLUMNS_PER_LANE>;
  for (var s = 0u; s < COLUMNS_PER_LANE; s++) {
    let a = params.first + s * LANES_PER_ROW + t;
    push[s] = select(0.0, pushed[safe_row * params.pushed_stride + min(a, params.end - 1u)], a < params.end);
  }
  var loss = 0.0;
  for (var step = 0u; step < BLOCK; step++) {
    let place = BLOCK - 1u - step; // in the block
    if (place >= width) { continue; }
    let a = params.first + place;
    let slot = place / LANES_PER_ROW;
    let factor_row = (a - params.panel_first_row) * params.panel_stride;
    if (t == place % LANES_PER_ROW) {
      let column = order[a];
      let weight = select(weight_at(safe_row * params.columns + column.original), 0.0, column.dead == 1u);
      let diagonal = factor[factor_row + a];
      let goal = weight + push[slot] / diagonal;
      let cell = safe_row * params.cells_per_row + column.group;
      let zero_point = f32(zero_points[cell]);
      let code = round(clamp(goal / scales[cell] + zero_point, params.q_min, params.q_max));
      let value = round_to_dtype((code - zero_point) * scales[cell], params.dtype);
      let miss = (goal - value) * diagonal;
      loss += miss * miss;
      row_error[(step & 1u) * ROWS + local_row] = weight - value;
      if (inside) {
        codes[row * params.columns + column.original] = i32(code);
        errors[row * ERROR_STRIDE + place] = weight - value;
      }
    }
    workgroupBarrier();
    let error = row_error[(step & 1u) * ROWS + local_row];
    for (var s = 0u; s < COLUMNS_PER_LANE; s++) {
      let other = s * LANES_PER_ROW + t;
      if (other < place) { push[s] += error * factor[factor_row + params.first + other]; }
    }
  }
  row_loss[lane] = loss;
  workgroupBarrier();
  if (t == 0u && inside) {
    var total = 0.0;
    for (var i = 0u; i < LANES_PER_ROW; i++) { total += row_loss[lane + i]; }
    errors[row * ERROR_STRIDE + BLOCK] += total;
  }
}
