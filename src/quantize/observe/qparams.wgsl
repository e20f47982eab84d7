// Scale and zero point of each cell from its range, or of the one cell of a tensor whose range is given.
override WORKGROUP: u32 = 64;
override DTYPE: u32 = 2;
override SYMMETRIC: bool = true;
override SCALE_KIND: u32 = 0;

struct Params {
  cells: u32,
  q_min: f32,
  q_max: f32,
  epsilon: f32,
  global_scale: f32,
  range_given: u32,
  low: f32,
  high: f32,
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
  var range = vec2(params.low, params.high);
  if (params.range_given == 0u) { range = ranges[cell]; }
  let rule = QparamsRule(
    DTYPE, u32(SYMMETRIC), SCALE_KIND, params.q_min, params.q_max, params.epsilon, params.global_scale,
  );
  let qparams = cell_qparams(range.x, range.y, rule);
  scales[cell] = qparams.scale;
  zero_points[cell] = i32(qparams.zero_point);
}
