// RMS and layer norm over groups of neighbouring values: whole rows, or each head of a row. One workgroup a group; two
// passes over it for the mean and the variance around it, as torch does, and one that writes.
override WORKGROUP: u32 = 64;
// Subtracts the mean (layer norm) instead of only dividing by the root mean square.
override CENTERED: bool = false;
override BIASED: bool = false;
// Without it all weights are 1.
override WEIGHTED: bool = true;
// Reads and writes y; x is not touched.
override IN_PLACE: bool = false;
// y += scale · norm(x) instead of y = norm(x): a block's output joins the residual.
override ACCUMULATE: bool = false;

struct Params {
  // Norm groups of a row, values of a group, values of the weight vector.
  groups: u32,
  size: u32,
  weight_size: u32,
  x_stride: u32,
  x_offset: u32,
  y_stride: u32,
  y_offset: u32,
  first: u32,
  end: u32,
  eps: f32,
  weight_offset: f32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, WORKGROUP>;

fn load(index: u32) -> f32 {
  if (IN_PLACE) { return y[index]; }
  return x[index];
}

fn total(lane: u32, value: f32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
    if (lane < width) { partial[lane] += partial[lane + width]; }
    workgroupBarrier();
  }
  let sum = workgroupUniformLoad(&partial[0]);
  return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + workgroup.y * workgroups.x + workgroup.x;
  if (item >= params.end) { return; }
  let row = item / params.groups;
  let first = item % params.groups * params.size;
  let y_base = params.y_offset + row * params.y_stride + first;
  let x_base = select(params.x_offset + row * params.x_stride + first, y_base, IN_PLACE);

  var mean = 0.0;
  if (CENTERED) {
    var sum = 0.0;
    for (var i = lane; i < params.size; i += WORKGROUP) { sum += load(x_base + i); }
    mean = total(lane, sum) / f32(params.size);
  }
  var squares = 0.0;
  for (var i = lane; i < params.size; i += WORKGROUP) {
    let centered = load(x_base + i) - mean;
    squares += centered * centered;
  }
  let factor = inverseSqrt(total(lane, squares) / f32(params.size) + params.eps);
  for (var i = lane; i < params.size; i += WORKGROUP) {
    var value = (load(x_base + i) - mean) * factor;
    if (WEIGHTED) { value *= weight[(first + i) % params.weight_size] + params.weight_offset; }
    if (BIASED) { value += bias[i]; }
    if (ACCUMULATE) { y[y_base + i] += params.scale * value; } else { y[y_base + i] = value; }
  }
}
