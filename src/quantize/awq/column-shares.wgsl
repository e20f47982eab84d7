// For each column Σ |w| / (max |w| of its cell + 1e-6) over the rows, every operation rounded to the weight's dtype (LLM
// Compressor `_compute_layer_means`), summed in float32. A workgroup has a strip of columns; its lanes go through the rows
// side by side and are joined in a fixed order.
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
  fresh: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read> ranges: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

var<workgroup> partial: array<f32, STRIP * ROW_LANES>;

fn weight_at(index: u32) -> f32 {
  if (params.dtype == DTYPE_F32) { return bitcast<f32>(weights[index]); }
  return widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, params.dtype);
}

@compute @workgroup_size(STRIP, ROW_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = (params.first_strip + group.x) * STRIP + local.x;
  let lane = local.y * STRIP + local.x;
  let known = column < params.columns;
  var sum = 0.0;
  if (known) {
    for (var row = local.y; row < params.rows; row += ROW_LANES) {
      let cell = row / params.cell_rows * params.cells_per_row + column / params.cell_columns;
      let range = ranges[cell];
      let most = round_to_dtype(max(-range.x, range.y) + 1e-6, params.dtype);
      sum += round_to_dtype(divide(abs(weight_at(row * params.columns + column)), most), params.dtype);
    }
  }
  partial[lane] = sum;
  for (var half = ROW_LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local.y < half) { partial[lane] += partial[lane + half * STRIP]; }
  }
  if (local.y == 0u && known) { sums[column] = partial[lane] + select(sums[column], 0.0, params.fresh == 1u); }
}
