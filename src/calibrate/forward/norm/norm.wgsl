// RMS and layer norm over groups of neighbouring values: whole rows, or each head of a row. One workgroup a group; two
// passes over it for the mean and the variance around it, as torch does, and one that writes. What products and sums lose is
// kept beside them and joined at the end: a row's factor is off for all of its values alike, which blocks that weigh tokens
// against each other (gated delta rule) enlarge a thousandfold where little is left.
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

var<workgroup> partial: array<vec2<f32>, WORKGROUP>;

fn load(index: u32) -> f32 {
  if (IN_PLACE) { return y[index]; }
  return x[index];
}

// a · b and what rounding took of it, by halves whose products are exact (Dekker): fma may round in between. Where a compiler
// takes the rest for zero, what is left is the plain product.
fn product(a: f32, b: f32) -> vec2<f32> {
  let rounded = a * b;
  let a_high = bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
  let b_high = bitcast<f32>(bitcast<u32>(b) & 0xfffff000u);
  let a_low = a - a_high;
  let b_low = b - b_high;
  return vec2(rounded, ((a_high * b_high - rounded) + a_high * b_low + a_low * b_high) + a_low * b_low);
}

// a + b of numbers with their rests (Knuth).
fn add(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let sum = a.x + b.x;
  let of_b = sum - a.x;
  return vec2(sum, ((a.x - (sum - of_b)) + (b.x - of_b)) + a.y + b.y);
}

fn total(lane: u32, value: vec2<f32>) -> vec2<f32> {
  partial[lane] = value;
  workgroupBarrier();
  for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
    if (lane < width) { partial[lane] = add(partial[lane], partial[lane + width]); }
    workgroupBarrier();
  }
  let sum = workgroupUniformLoad(&partial[0]);
  return sum;
}

// 1 / √x: one step of Newton's gives the rest.
fn inverse_root(x: vec2<f32>) -> vec2<f32> {
  let root = inverseSqrt(x.x);
  let once = product(x.x, root);
  let twice = product(once.x, root);
  return vec2(root, 0.5 * root * ((1.0 - twice.x) - twice.y - (once.y + x.y * root) * root));
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
    var sum = vec2<f32>();
    for (var i = lane; i < params.size; i += WORKGROUP) { sum = add(sum, vec2(load(x_base + i), 0.0)); }
    mean = total(lane, sum).x / f32(params.size);
  }
  var squares = vec2<f32>();
  for (var i = lane; i < params.size; i += WORKGROUP) {
    let centered = load(x_base + i) - mean;
    squares = add(squares, product(centered, centered));
  }
  let sum = total(lane, squares);
  let mean_square = sum.x / f32(params.size);
  let back = product(mean_square, f32(params.size));
  let rest = ((sum.x - back.x) - back.y + sum.y) / f32(params.size);
  let factor = inverse_root(add(vec2(mean_square, rest), vec2(params.eps, 0.0)));
  for (var i = lane; i < params.size; i += WORKGROUP) {
    let centered = load(x_base + i) - mean;
    let normed = product(centered, factor.x);
    var value = normed.x;
    if (WEIGHTED) {
      let by = weight[(first + i) % params.weight_size] + params.weight_offset;
      let weighted = product(normed.x, by);
      value = weighted.x + (weighted.y + (normed.y + centered * factor.y) * by);
    } else {
      value += normed.y + centered * factor.y;
    }
    if (BIASED) { value += bias[i]; }
    if (ACCUMULATE) { y[y_base + i] += params.scale * value; } else { y[y_base + i] = value; }
  }
}
