// xIELU (arXiv 2411.13010) in place, with parameters that were learned.
override WORKGROUP: u32 = 64;

struct Params {
  // Sizes in vec4.
  stride: u32,
  columns: u32,
  first: u32,
  end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// One value each; the alphas before their softplus.
@group(0) @binding(1) var<storage, read> alpha_p: array<f32>;
@group(0) @binding(2) var<storage, read> alpha_n: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read> eps: array<f32>;
@group(0) @binding(5) var<storage, read_write> x: array<vec4<f32>>;

fn softplus(x: f32) -> f32 { return max(x, 0.0) + log(1.0 + exp(-abs(x))); }

// e^x − 1; by its series where the difference would lose digits.
fn expm1(x: vec4<f32>) -> vec4<f32> {
  let series = x * (1.0 + x * (0.5 + x * (0.16666667 + x * (0.041666668 + x * (0.008333334 + x * 0.0013888889)))));
  return select(exp(x) - 1.0, series, abs(x) < vec4(0.3));
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  let at = item / params.columns * params.stride + item % params.columns;
  let value = x[at];
  let low = (expm1(min(value, vec4(eps[0]))) - value) * (beta[0] + softplus(alpha_n[0]));
  x[at] = select(low, softplus(alpha_p[0]) * value * value, value > vec4(0.0)) + beta[0] * value;
}
