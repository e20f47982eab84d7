// The range of each cell that quantizes it with the least weighted error: the observed range is taken `STEPS` times, from
// `first_share` downwards by `share_step`, and Σ (importance[column] + damping) · (q - w)² compared. Each share of a cell
// has an invocation of its own, which goes over all of the cell's weights. A cell is a part of one row.
override STEPS: u32 = 20;
override CELLS_EACH: u32 = 3;
override WORKGROUP: u32 = STEPS * CELLS_EACH;

struct Params {
  columns: u32,
  dtype: u32,
  cell_columns: u32,
  cells_per_row: u32,
  first_cell: u32,
  end_cell: u32,
  symmetric: u32,
  scale_kind: u32,
  q_min: f32,
  q_max: f32,
  epsilon: f32,
  global_scale: f32,
  first_share: f32,
  share_step: f32,
  damping: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read> importance: array<f32>;
@group(0) @binding(3) var<storage, read_write> ranges: array<vec2<f32>>;

var<workgroup> errors: array<f32, 64>;

fn weight_at(index: u32) -> f32 {
  if (params.dtype == DTYPE_F32) { return bitcast<f32>(weights[index]); }
  return widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, params.dtype);
}

// As the encoder rounds (encode.wgsl) but for the last bit of the division: the error counts here, not the code.
fn quantized(weight: f32, qparams: CellQparams) -> f32 {
  var scaled = weight / qparams.scale;
  if (params.global_scale == 0.0) { scaled = round_to_dtype(scaled, params.dtype); }
  if (params.symmetric == 0u) { scaled = round_to_dtype(scaled + qparams.zero_point, params.dtype); }
  let value = nearest_number(scaled, params.q_min, params.q_max) - qparams.zero_point;
  return round_to_dtype(value * qparams.scale, params.dtype);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let step = lane % STEPS;
  let cell = params.first_cell + (group.y * groups.x + group.x) * CELLS_EACH + lane / STEPS;
  let inside = cell < params.end_cell;
  var part = vec2(0.0);
  if (inside) {
    let first_column = cell % params.cells_per_row * params.cell_columns;
    let end_column = min(first_column + params.cell_columns, params.columns);
    let first_weight = cell / params.cells_per_row * params.columns;
    let share = params.first_share - f32(step) * params.share_step;
    let range = ranges[cell];
    part = vec2(
      round_to_dtype(multiply(range.x, share), params.dtype),
      round_to_dtype(multiply(range.y, share), params.dtype),
    );
    var qparams = cell_qparams(part.x, part.y, QparamsRule(
      params.dtype, params.symmetric, params.scale_kind, params.q_min, params.q_max, params.epsilon, params.global_scale,
    ));
    if (params.global_scale != 0.0) { qparams.scale = qparams.scale / params.global_scale; }
    var sum = 0.0;
    for (var column = first_column; column < end_column; column++) {
      let weight = weight_at(first_weight + column);
      let error = quantized(weight, qparams) - weight;
      sum += (importance[column] + params.damping) * error * error;
    }
    errors[lane] = sum;
  }
  workgroupBarrier();
  // Step 1 takes the range as it is: what costs the same, or more than a number can say, does not replace it.
  let first = lane - step;
  var best = 1u;
  for (var other = 0u; other < STEPS; other++) {
    if (errors[first + other] < errors[first + best]) { best = other; }
  }
  if (inside && step == best) { ranges[cell] = part; }
}
