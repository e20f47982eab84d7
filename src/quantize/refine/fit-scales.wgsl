// Fits a block's scales, group after group: with v the numbers that a group's codes mean, the row's loss is least at
// s - (v · slopes) / (v H vᵀ) with all else fixed. The scale is rounded to what the format can hold, and taken only if the
// loss falls with the values as they are rounded. Codes may be moved behind it before the changes go into the error.
// Slopes of each row's loss by its values, (rows, stride); then those behind the fit.
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(4) var<storage, read> codes: array<i32>;
@group(0) @binding(5) var<storage, read> zero_points: array<i32>;
@group(0) @binding(6) var<storage, read_write> scales: array<f32>;
// How much each value became larger, (rows, stride).
@group(0) @binding(7) var<storage, read_write> changes: array<f32>;

const LEAST_FACTOR: f32 = 0.3;
const LARGEST_FACTOR: f32 = 2.0;
const SCALE_DTYPE: u32 = 0u;
const SCALE_E4M3: u32 = 1u;

var<workgroup> slopes: array<f32, ROWS * MAX_WIDTH>;
// The group's numbers, then what their values change by.
var<workgroup> numbers: array<f32, ROWS * MAX_WIDTH>;
var<workgroup> partial: array<vec2<f32>, LANES>;

fn nearest_scale(scale: f32) -> f32 {
  if (params.scale_kind == SCALE_DTYPE) { return round_to_dtype(scale, params.dtype); }
  if (params.scale_kind == SCALE_E4M3) {
    return divide(from_e4m3(to_e4m3(min(scale * params.global_scale, 448.0))), params.global_scale);
  }
  // The nearer power of two.
  return bitcast<f32>((bitcast<u32>(scale) + 0x400000u) & 0x7f800000u);
}

// Σ over the group of numbers[i] · gram[j][i].
fn curve(j: u32, own: u32, begin: u32, end: u32) -> f32 {
  var sum = 0.0;
  for (var i = begin; i < end; i++) { sum += numbers[own + i] * gram[j * params.stride + i]; }
  return sum;
}

// The sum of what the row's invocations hold; the barriers are for the whole workgroup.
fn row_sum(lane: u32, value: vec2<f32>) -> vec2<f32> {
  partial[lane] = value;
  workgroupBarrier();
  var sum = vec2(0.0);
  let first = lane / LANES_PER_ROW * LANES_PER_ROW;
  for (var t = 0u; t < LANES_PER_ROW; t++) { sum += partial[first + t]; }
  workgroupBarrier();
  return sum;
}

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
  for (var begin = 0u; begin < params.width; begin += params.group_size) {
    let end = min(begin + params.group_size, params.width);
    let cell = cell_of(safe_row, columns[params.first + begin].group);
    let scale = scales[cell];
    let zero_point = f32(zero_points[cell]);
    for (var j = begin + t; j < end; j += LANES_PER_ROW) {
      let code = codes[safe_row * params.columns + columns[params.first + j].original];
      numbers[own + j] = number_of(code) - zero_point;
    }
    workgroupBarrier();
    var share = vec2(0.0);
    for (var j = begin + t; j < end; j += LANES_PER_ROW) {
      share += numbers[own + j] * vec2(slopes[own + j], curve(j, own, begin, end));
    }
    let fit = row_sum(lane, share);
    var fitted = scale;
    if (fit.y > 0.0) {
      let least = clamp(scale - fit.x / fit.y, LEAST_FACTOR * scale, LARGEST_FACTOR * scale);
      fitted = nearest_scale(least);
      if (!(fitted > 0.0)) { fitted = scale; }
    }
    for (var j = begin + t; j < end; j += LANES_PER_ROW) {
      let number = numbers[own + j];
      numbers[own + j] = value_of(number, fitted) - value_of(number, scale);
    }
    workgroupBarrier();
    var gain = vec2(0.0);
    for (var j = begin + t; j < end; j += LANES_PER_ROW) {
      gain.x += numbers[own + j] * (slopes[own + j] + 0.5 * curve(j, own, begin, end));
    }
    let falls = row_sum(lane, gain).x < 0.0;
    for (var k = t; k < params.width; k += LANES_PER_ROW) {
      if (falls) { slopes[own + k] += curve(k, own, begin, end); }
    }
    for (var j = begin + t; j < end; j += LANES_PER_ROW) {
      if (inside) { changes[row * params.stride + j] = select(0.0, numbers[own + j], falls); }
    }
    if (inside && falls && t == 0u) { scales[cell] = fitted; }
  }
  for (var j = t; j < params.width; j += LANES_PER_ROW) {
    if (inside) { gradient[row * params.stride + j] = slopes[own + j]; }
  }
}
