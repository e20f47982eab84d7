// The activation of an MLP, in place: x = activation(x), or x = activation(x) · up where the up projection's values lie
// `up` columns further in the same row.
override WORKGROUP: u32 = 64;
override ACTIVATION: u32 = 0;
override GATED: bool = false;

const SILU: u32 = 0u;
const GELU: u32 = 1u;
const GELU_TANH: u32 = 2u;
const RELU: u32 = 3u;
const RELU2: u32 = 4u;

struct Params {
  // Sizes in vec4.
  stride: u32,
  columns: u32,
  up: u32,
  first: u32,
  end: u32,
  // Of the clamped swiglu.
  alpha: f32,
  limit: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;

// 1 / (1 + e^(−2|x|)) keeps its precision and never overflows.
fn tanh_of(x: vec4<f32>) -> vec4<f32> {
  let small = exp(-2.0 * abs(x));
  return sign(x) * (1.0 - small) / (1.0 + small);
}

// erf by Abramowitz and Stegun 7.1.26, within 1.5e-7.
fn erf_of(x: vec4<f32>) -> vec4<f32> {
  let t = 1.0 / (1.0 + 0.3275911 * abs(x));
  let series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(x) * (1.0 - series * exp(-x * x));
}

fn activate(x: vec4<f32>) -> vec4<f32> {
  switch ACTIVATION {
    // Clamped where e^(−x) would overflow; the quotient is zero there.
    case SILU: { return x / (1.0 + exp(min(-x, vec4(80.0)))); }
    case GELU: { return 0.5 * x * (1.0 + erf_of(x * 0.7071067811865476)); }
    case GELU_TANH: { return 0.5 * x * (1.0 + tanh_of(0.7978845608028654 * (x + 0.044715 * x * x * x))); }
    case RELU: { return max(x, vec4(0.0)); }
    case RELU2: { return max(x, vec4(0.0)) * max(x, vec4(0.0)); }
    default: {
      let gate = min(x, vec4(params.limit));
      return gate / (1.0 + exp(min(-params.alpha * gate, vec4(80.0))));
    }
  }
}

// What the activation is multiplied by.
fn factor(up: vec4<f32>) -> vec4<f32> {
  if (ACTIVATION <= RELU2) { return up; }
  return clamp(up, vec4(-params.limit), vec4(params.limit)) + 1.0;
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
  var value = activate(x[at]);
  if (GATED) { value *= factor(x[at + params.up]); }
  x[at] = value;
}
