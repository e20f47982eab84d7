// One step of the search for the range of least error (LLM Compressor `_grid_search_mse`): each cell's range is shrunk by
// `shrink`, the cell quantized and dequantized with it, and Σ|q - w|^norm compared with the best so far. Every operation is
// rounded to the weight's dtype, the sum once at its end. `lanes` invocations, a power of two, share a cell.
//
// Powers of 16-bit values come from a table of all of them; float32 takes pow(), which differs from torch's in its last
// bits. For a tensor that shares one range (`range_given`), cells are pieces of it and only their errors are kept.
//
// `imatrix_mse` (`weighted`) computes the error in float32 whatever the weight's dtype, and weights each column's by its
// importance.
override WORKGROUP: u32 = 64;
// Weights of 16 bits have their dtype compiled in. Those of 32 leave it open: where no rounding is left between a product and
// the sum that it goes into, a driver may join the two, and their last bit would be another.
override DTYPE: u32 = 3;
override KIND: u32 = 0;
override SYMMETRIC: bool = true;
override SCALE_KIND: u32 = 0;
override WEIGHTED: bool = false;

const KIND_INT: u32 = 0u;
const KIND_E4M3: u32 = 1u;
const FIRST_STEP_WORD: u32 = 4u;
const DTYPE_OPEN: u32 = 3u;

struct Params {
  rows: u32,
  columns: u32,
  dtype: u32,
  cell_rows: u32,
  cell_columns: u32,
  cells_per_row: u32,
  first_cell: u32,
  end_cell: u32,
  lanes: u32,
  q_min: f32,
  q_max: f32,
  epsilon: f32,
  step: u32,
  shrink: f32,
  norm: f32,
  largest: f32,
  range_given: u32,
  low: f32,
  high: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read> ranges: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> powers: array<u32>;
// One number a column.
@group(0) @binding(4) var<storage, read> importance: array<f32>;
// Least error of each cell and the shrink that gave it.
@group(0) @binding(5) var<storage, read_write> best: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> statistics: array<atomic<u32>>;

var<workgroup> sums: array<f32, WORKGROUP>;

fn dtype() -> u32 {
  if (DTYPE == DTYPE_OPEN) { return params.dtype; }
  return DTYPE;
}

fn weight_at(index: u32) -> f32 {
  if (dtype() == DTYPE_F32) { return bitcast<f32>(weights[index]); }
  return widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, dtype());
}

fn quantized(weight: f32, qparams: CellQparams) -> f32 {
  var scaled = round_to_dtype(divide(weight, qparams.scale), dtype());
  if (!SYMMETRIC) { scaled = round_to_dtype(scaled + qparams.zero_point, dtype()); }
  let clamped = clamp(scaled, params.q_min, params.q_max);
  var value: f32;
  if (KIND == KIND_INT) { value = round(clamped) - qparams.zero_point; }
  else if (KIND == KIND_E4M3) { value = from_e4m3(to_e4m3(clamped)); }
  else { value = from_e2m1(to_e2m1(clamped)); }
  return round_to_dtype(value * qparams.scale, dtype());
}

fn float_power(difference: f32) -> f32 {
  // torch multiplies for these exponents, and so does not depend on how exact pow() is
  if (params.norm == 2.0) { return difference * difference; }
  if (params.norm == 3.0) { return difference * difference * difference; }
  return pow(difference, params.norm);
}

fn power(difference: f32) -> f32 {
  if (difference == 0.0) { return 0.0; }
  if (dtype() == DTYPE_F32) { return float_power(difference); }
  let bits = narrow_bits(difference, dtype());
  return widen_bits((powers[bits >> 1u] >> ((bits & 1u) * 16u)) & 0xffffu, dtype());
}

fn error_of(weight: f32, meaning: f32, column: u32) -> f32 {
  let difference = abs(meaning - weight);
  if (!WEIGHTED) { return power(round_to_dtype(difference, dtype())); }
  if (difference == 0.0) { return 0.0; }
  return float_power(difference) * importance[column];
}

fn shrunk_range(cell: u32) -> vec2<f32> {
  var range = vec2(params.low, params.high);
  if (params.range_given == 0u) { range = ranges[cell]; }
  return vec2(
    round_to_dtype(multiply(range.x, params.shrink), dtype()),
    round_to_dtype(multiply(range.y, params.shrink), dtype()),
  );
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let cells_each = WORKGROUP / params.lanes;
  let cell = params.first_cell + (group.y * groups.x + group.x) * cells_each + lane / params.lanes;
  let own_lane = lane % params.lanes;
  var sum = 0.0;
  if (cell < params.end_cell) {
    let first_row = cell / params.cells_per_row * params.cell_rows;
    let first_column = cell % params.cells_per_row * params.cell_columns;
    let cell_rows = min(params.cell_rows, params.rows - first_row);
    let cell_columns = min(params.cell_columns, params.columns - first_column);
    let rule = QparamsRule(
      dtype(), u32(SYMMETRIC), SCALE_KIND, params.q_min, params.q_max, params.epsilon, 0.0,
    );
    let range = shrunk_range(cell);
    let qparams = cell_qparams(range.x, range.y, rule);
    for (var i = own_lane; i < cell_rows * cell_columns; i += params.lanes) {
      let column = first_column + i % cell_columns;
      let weight = weight_at((first_row + i / cell_columns) * params.columns + column);
      sum += error_of(weight, quantized(weight, qparams), column);
    }
  }
  sums[lane] = sum;
  for (var stride = params.lanes / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (own_lane < stride) { sums[lane] += sums[lane + stride]; }
  }
  if (own_lane != 0u || cell >= params.end_cell) { return; }
  if (params.range_given == 1u) {
    best[cell] = vec2(sums[lane], params.shrink);
    return;
  }
  let error = select(round_to_dtype(sums[lane], dtype()), sums[lane], WEIGHTED);
  var least = vec2(params.largest, 1.0);
  if (params.step > 0u) { least = best[cell]; }
  if (error < least.x) {
    least = vec2(error, params.shrink);
    atomicMax(&statistics[FIRST_STEP_WORD + params.step], 1u);
  }
  best[cell] = least;
}
