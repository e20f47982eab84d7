// What a weight loses under each candidate: W − Q(W · s) / s; or all of it, W, to compare that with; or what is left, Q(W · s) / s. Every operation rounded to the weight's dtype as LLM
// Compressor's search rounds it, in float32. One workgroup per cell (the rectangle that shares a scale) and candidate.
// weights is (rows, weight_stride) in its own dtype, factors (candidates, columns), errors (candidates, rows, error_stride).
override WORKGROUP: u32 = 64;

// See gptq/walk-block.wgsl.
const LEAST_SCALE: f32 = 1.1754943508222875e-38;

struct Params {
  rows: u32,
  columns: u32,
  cell_rows: u32,
  cell_columns: u32,
  cells_per_row: u32,
  cells: u32,
  dtype: u32,
  symmetric: u32,
  scale_kind: u32,
  q_min: f32,
  q_max: f32,
  epsilon: f32,
  error_stride: u32,
  first_candidate: u32,
  first_item: u32,
  end_item: u32,
  gives: u32,
  weight_stride: u32,
}

const GIVES_ALL: u32 = 1u;
const GIVES_MEANING: u32 = 2u;

// What is known of the whole scaled weight: a global scale (NVFP4), or the range of a tensor with one scale.
struct Known { global_scale: f32, low: f32, high: f32, range_given: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
@group(0) @binding(3) var<storage, read> known: array<Known>;
@group(0) @binding(4) var<storage, read_write> errors: array<f32>;

var<workgroup> low: array<f32, WORKGROUP>;
var<workgroup> high: array<f32, WORKGROUP>;

fn weight_at(index: u32) -> f32 {
  if (params.dtype == DTYPE_F32) { return bitcast<f32>(weights[index]); }
  return widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, params.dtype);
}

// x less what its code means, both as the model sees them.
fn rounded(x: f32, qparams: CellQparams, scale: f32) -> f32 {
  var scaled = x / scale;
  if (params.scale_kind != SCALE_E4M3) { scaled = round_to_dtype(scaled, params.dtype); }
  if (params.symmetric == 0u) { scaled = round_to_dtype(scaled + qparams.zero_point, params.dtype); }
  let number = nearest_number(scaled, params.q_min, params.q_max);
  return round_to_dtype((number - qparams.zero_point) * scale, params.dtype);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first_item + group.y * groups.x + group.x;
  let own = item / params.cells;
  let cell = item % params.cells;
  let candidate = params.first_candidate + own;
  let first_row = cell / params.cells_per_row * params.cell_rows;
  let first_column = cell % params.cells_per_row * params.cell_columns;
  let cell_rows = min(params.cell_rows, params.rows - min(first_row, params.rows));
  let cell_columns = min(params.cell_columns, params.columns - first_column);
  let count = select(0u, cell_rows * cell_columns, item < params.end_item);
  if (params.gives == GIVES_ALL) {
    for (var i = lane; i < count; i += WORKGROUP) {
      let row = first_row + i / cell_columns;
      let column = first_column + i % cell_columns;
      errors[row * params.error_stride + column] = weight_at(row * params.weight_stride + column);
    }
    return;
  }
  var smallest = 0.0;
  var largest = 0.0;
  for (var i = lane; i < count; i += WORKGROUP) {
    let column = first_column + i % cell_columns;
    let weight = weight_at((first_row + i / cell_columns) * params.weight_stride + column);
    let x = round_to_dtype(weight * factors[candidate * params.columns + column], params.dtype);
    smallest = min(smallest, x);
    largest = max(largest, x);
  }
  low[lane] = smallest;
  high[lane] = largest;
  for (var stride = WORKGROUP / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) {
      low[lane] = min(low[lane], low[lane + stride]);
      high[lane] = max(high[lane], high[lane + stride]);
    }
  }
  workgroupBarrier();
  if (count == 0u) { return; }
  let whole = known[candidate];
  var range = vec2(low[0], high[0]);
  if (whole.range_given == 1.0) { range = vec2(whole.low, whole.high); }
  let rule = QparamsRule(
    params.dtype, params.symmetric, params.scale_kind, params.q_min, params.q_max, params.epsilon, whole.global_scale,
  );
  let qparams = cell_qparams(range.x, range.y, rule);
  var scale = qparams.scale;
  if (params.scale_kind == SCALE_E4M3) { scale = divide(scale, whole.global_scale); }
  scale = max(scale, LEAST_SCALE);
  for (var i = lane; i < count; i += WORKGROUP) {
    let row = first_row + i / cell_columns;
    let column = first_column + i % cell_columns;
    let weight = weight_at(row * params.weight_stride + column);
    let factor = factors[candidate * params.columns + column];
    let x = round_to_dtype(weight * factor, params.dtype);
    let meaning = round_to_dtype(rounded(x, qparams, scale) / factor, params.dtype);
    errors[(own * params.rows + row) * params.error_stride + column] = select(weight - meaning, meaning, params.gives == GIVES_MEANING);
  }
}
