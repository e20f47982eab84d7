// Per token and head, from the two small projections of a recurrence: the logarithm of what the state decays by, and the
// factor of what is written into it. One invocation a token and head.
override WORKGROUP: u32 = 64;
// The factor is the sigmoid of a projection of its own (gated delta rule) instead of the time step (Mamba-2).
override DELTA: bool = false;

struct Params {
  heads: u32,
  stride: u32,
  // Heads share a run of columns in groups of `per_group`, `group_stride` apart.
  per_group: u32,
  group_stride: u32,
  time_steps: u32,
  betas: u32,
  // The logarithms come first, then the factors.
  gates: u32,
  first: u32,
  end: u32,
  least: f32,
  largest: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// log(−A) and the time step's bias of each head.
@group(0) @binding(1) var<storage, read> decay: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;

// log(1 + e^x); log1p by its series where e^x is small.
fn softplus(x: f32) -> f32 {
  if (x > 20.0) { return x; }
  let power = exp(x);
  if (power < 1e-2) { return power * (1.0 - power * (0.5 - power * (0.33333333 - 0.25 * power))); }
  return log(1.0 + power);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  let head = item % params.heads;
  let row = item / params.heads * params.stride;
  let column = head / params.per_group * params.group_stride + head % params.per_group;
  var step = softplus(x[row + params.time_steps + column] + bias[head]);
  step = clamp(step, params.least, params.largest);
  var factor = step;
  if (DELTA) { factor = 1.0 / (1.0 + exp(min(-x[row + params.betas + column], 80.0))); }
  x[row + params.gates + head] = -exp(decay[head]) * step;
  x[row + params.gates + params.heads + head] = factor;
}
