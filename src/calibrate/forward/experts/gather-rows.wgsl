// Brings the rows of the tokens that are routed to one expert together.
override WORKGROUP: u32 = 64;
// Multiplies each row by its weight.
override WEIGHED: bool = false;

struct Params {
  // In vec4.
  columns: u32,
  x_offset: u32,
  top_k: u32,
  // First of the expert's entries in the order.
  first_entry: u32,
  first: u32,
  end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Routes (token · top_k + choice), sorted by expert.
@group(0) @binding(1) var<storage, read> order: array<u32>;
// Expert, and the bits of its weight, for each token and choice.
@group(0) @binding(2) var<storage, read> routes: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  let entry = order[params.first_entry + item / params.columns];
  let token = entry / params.top_k;
  var value = x[params.x_offset + token * params.columns + item % params.columns];
  if (WEIGHED) { value *= bitcast<f32>(routes[entry].y); }
  y[item] = value;
}
