// Multiplies each range by `factor`, or by the best factor that the search found for its cell; rounded to the weight's
// dtype, as torch rounds it.
override WORKGROUP: u32 = 64;

struct Params { cells: u32, dtype: u32, use_best: u32, factor: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> ranges: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> best: array<vec2<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let cell = (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (cell >= params.cells) { return; }
  var factor = params.factor;
  if (params.use_best == 1u) { factor = best[cell].y; }
  let range = ranges[cell];
  ranges[cell] = vec2(
    round_to_dtype(multiply(range.x, factor), params.dtype),
    round_to_dtype(multiply(range.y, factor), params.dtype),
  );
}
