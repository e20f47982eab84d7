// One pass of coordinate descent over a block's codes: column after column, the code nearest to where the row's loss is
// least with all other codes fixed. What a change does to the slopes of the block's later columns is added at once; what
// it does to other blocks is left to a product with `changes`.
// Slopes of each row's loss by its values, (rows, stride).
@group(0) @binding(3) var<storage, read> gradient: array<f32>;
@group(0) @binding(4) var<storage, read> scales: array<f32>;
@group(0) @binding(5) var<storage, read> zero_points: array<i32>;
@group(0) @binding(6) var<storage, read_write> codes: array<i32>;
// How much each value became larger, (rows, stride).
@group(0) @binding(7) var<storage, read_write> changes: array<f32>;

var<workgroup> slopes: array<f32, ROWS * MAX_WIDTH>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let local_row = lane / LANES_PER_ROW;
  let t = lane % LANES_PER_ROW;
  let row = (params.first_group + group.x) * ROWS + local_row;
  let inside = row < params.rows;
  let safe_row = min(row, params.rows - 1u);
  let own = local_row * MAX_WIDTH;
  for (var j = t; j < params.width; j += LANES_PER_ROW) {
    slopes[own + j] = gradient[safe_row * params.stride + j];
  }
  workgroupBarrier();
  for (var j = 0u; j < params.width; j++) {
    let column = columns[params.first + j];
    let index = safe_row * params.columns + column.original;
    let cell = cell_of(safe_row, column.group);
    let scale = scales[cell];
    let zero_point = f32(zero_points[cell]);
    let old = codes[index];
    let value = value_of(number_of(old) - zero_point, scale);
    let goal = value - slopes[own + j] / gram[j * params.stride + j];
    let number = nearest_number(goal / scale + zero_point, params.q_min, params.q_max);
    var code = code_of(number);
    var change = value_of(number - zero_point, scale) - value;
    // Values are rounded to the weight's dtype: a code is taken only if it is nearer after that too.
    if (!(abs(value + change - goal) < abs(value - goal))) {
      code = old;
      change = 0.0;
    }
    for (var k = j + 1u + t; k < params.width; k += LANES_PER_ROW) {
      slopes[own + k] += change * gram[j * params.stride + k];
    }
    // After this the row's other invocations have read the old code.
    workgroupBarrier();
    if (inside && t == j % LANES_PER_ROW) {
      codes[index] = code;
      let at = row * params.stride + j;
      if (params.fitted == 1u) { change += changes[at]; }
      changes[at] = change;
    }
  }
}
