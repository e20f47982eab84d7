// For each column Σ |w| / (max |w| of its cell + 1e-6) over the rows, every operation rounded to the weight's dtype (LLM
// Compressor `_compute_layer_means`), summed in float32: a run of `columns` sums for each of eight lanes, every eighth row of the
// weight, which goes on where the rows before have left it. So where a weight is cut into tiles changes nothing.
const STRIP: u32 = 32u;
const ROW_LANES: u32 = 8u;

struct Params {
  rows: u32,
  columns: u32,
  dtype: u32,
  cell_rows: u32,
  cell_columns: u32,
  cells_per_row: u32,
  first_strip: u32,
  // The lane of the first row.
  first_lane: u32,
  // 1 before any row was seen: what `sums` holds does not count.
  fresh: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read> ranges: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

fn weight_at(index: u32) -> f32 {
  if (params.dtype == DTYPE_F32) { return bitcast<f32>(weights[index]); }
  return widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, params.dtype);
}

@compute @workgroup_size(STRIP, ROW_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = (params.first_strip + group.x) * STRIP + local.x;
  if (column >= params.columns) { return; }
  let own = local.y * params.columns + column;
  var sum = select(sums[own], 0.0, params.fresh == 1u);
  let begin = (local.y + ROW_LANES - params.first_lane) % ROW_LANES;
  for (var row = begin; row < params.rows; row += ROW_LANES) {
    let cell = row / params.cell_rows * params.cells_per_row + column / params.cell_columns;
    let range = ranges[cell];
    let most = round_to_dtype(max(-range.x, range.y) + 1e-6, params.dtype);
    sum += round_to_dtype(divide(abs(weight_at(row * params.columns + column)), most), params.dtype);
  }
  sums[own] = sum;
}
