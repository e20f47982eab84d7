// x = x · f(gate), value by value, with the gate in other columns of the row.
override WORKGROUP: u32 = 64;
// f is silu instead of the sigmoid.
override SILU: bool = false;

struct Params {
  // In vec4.
  stride: u32,
  columns: u32,
  x: u32,
  gate: u32,
  first: u32,
  end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  let base = item / params.columns * params.stride + item % params.columns;
  let gate = x[base + params.gate];
  // Clamped where e^(−x) would overflow; the quotient is zero there.
  var factor = 1.0 / (1.0 + exp(min(-gate, vec4(80.0))));
  if (SILU) { factor *= gate; }
  x[base + params.x] *= factor;
}
