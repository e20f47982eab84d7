// Scale and zero point of each cell from its range, in the arithmetic of the weight's dtype.
// compressed-tensors `calculate_qparams`: symmetric scale = max(|min|, |max|) / ((q_max - q_min) / 2); asymmetric
// scale = (max - min) / (q_max - q_min), zero point = clamp(q_min - min / scale); a zero scale becomes the dtype's eps.
override WORKGROUP: u32 = 64;

struct Params {
  cells: u32,
  dtype: u32,
  symmetric: u32,
  q_min: f32,
  q_max: f32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ranges: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> zero_points: array<i32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let cell = (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (cell >= params.cells) { return; }
  let smallest = ranges[cell].x;
  let largest = ranges[cell].y;
  let steps = params.q_max - params.q_min;
  var scale: f32;
  var zero_point = 0.0;
  if (params.symmetric == 1u) {
    scale = round_to_dtype(divide(max(abs(smallest), abs(largest)), steps / 2.0), params.dtype);
  } else {
    let span = round_to_dtype(largest - smallest, params.dtype);
    scale = round_to_dtype(divide(span, steps), params.dtype);
    if (scale != 0.0) {
      let shift = round_to_dtype(divide(smallest, scale), params.dtype);
      zero_point = round(clamp(round_to_dtype(params.q_min - shift, params.dtype), params.q_min, params.q_max));
    }
  }
  if (scale == 0.0) { scale = params.epsilon; }
  scales[cell] = scale;
  zero_points[cell] = i32(zero_point);
}
