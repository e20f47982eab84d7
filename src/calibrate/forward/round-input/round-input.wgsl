// Activations rounded as a quantized Linear rounds its input, and back in float32 (compressed-tensors
// `quantization/lifecycle/forward.py`). One workgroup per run of values that share a scale.
override WORKGROUP: u32 = 64;
// The scale follows the run's values, or is the one that was measured.
override DYNAMIC: bool = true;
override SYMMETRIC: bool = true;
// e4m3, or integers.
override FLOAT: bool = false;

struct Params {
  first: u32,
  end: u32,
  // Values of a run, and runs of a row.
  size: u32,
  runs: u32,
  x_stride: u32,
  x_offset: u32,
  y_stride: u32,
  // 2^(bits − 1)
  half: f32,
}

// Keeps a run of zeros from dividing by zero.
const LEAST_SCALE = 1.1920929e-7;
const LARGEST_E4M3 = 448.0;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> measured: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> extremes: array<vec2<f32>, WORKGROUP>;

// The least and the largest value of a run, zero among them.
fn range_of(start: u32, size: u32, lane: u32) -> vec2<f32> {
  var own = vec2<f32>();
  for (var at = lane; at < size; at += WORKGROUP) {
    let value = x[start + at];
    own = vec2<f32>(min(own.x, value), max(own.y, value));
  }
  extremes[lane] = own;
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      let other = extremes[lane + half];
      extremes[lane] = vec2<f32>(min(extremes[lane].x, other.x), max(extremes[lane].y, other.y));
    }
  }
  workgroupBarrier();
  return extremes[0];
}

fn scale_of(range: vec2<f32>) -> f32 {
  if (!DYNAMIC) { return measured[0]; }
  let steps = 2.0 * params.half - 1.0;
  if (!SYMMETRIC) { return max(divide(range.y - range.x, steps), LEAST_SCALE); }
  let largest = max(-range.x, range.y);
  return max(divide(largest, select(steps * 0.5, LARGEST_E4M3, FLOAT)), LEAST_SCALE);
}

fn rounded(value: f32, scale: f32, zero: f32) -> f32 {
  let scaled = divide(value, scale);
  if (FLOAT) { return from_e4m3(to_e4m3(clamp(scaled, -LARGEST_E4M3, LARGEST_E4M3))) * scale; }
  return (clamp(round(scaled + zero), -params.half, params.half - 1.0) - zero) * scale;
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let run = params.first + group.y * groups.x + group.x;
  // Whole workgroups are left over where they are spread over two dimensions; none of them writes.
  let size = select(0u, params.size, run < params.end);
  let row = run / params.runs;
  let column = run % params.runs * params.size;
  let start = params.x_offset + row * params.x_stride + column;
  let range = range_of(start, size, lane);
  let scale = scale_of(range);
  var zero = 0.0;
  if (DYNAMIC && !SYMMETRIC) {
    zero = clamp(round(-params.half - divide(range.x, scale)), -params.half, params.half - 1.0);
  }
  for (var at = lane; at < size; at += WORKGROUP) {
    y[row * params.y_stride + column + at] = rounded(x[start + at], scale, zero);
  }
}
