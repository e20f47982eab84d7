// y = cap · tanh(scale · y / cap), or scale · y, in place.
override WORKGROUP: u32 = 64;

struct Params {
  first: u32,
  end: u32,
  scale: f32,
  // Zero caps nothing.
  soft_cap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  var value = params.scale * y[item];
  if (params.soft_cap > 0.0) {
    let x = value / params.soft_cap;
    let small = exp(-2.0 * abs(x));
    // The quotient cancels near zero, where a few terms of the series do.
    let series = x * (1.0 + x * x * (-0.33333333 + x * x * (0.13333333 + x * x * -0.053968254)));
    value = params.soft_cap * select(sign(x) * (1.0 - small) / (1.0 + small), series, abs(x) < 0.15);
  }
  y[item] = value;
}
