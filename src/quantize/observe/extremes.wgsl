// Smallest and largest weight of a whole tile from the ranges of its cells. A range reaches to 0 on both sides, so both
// ends are magnitudes, whose bits sort as unsigned integers: words 2 and 3 of `statistics`.
override WORKGROUP: u32 = 64;
const CELLS_EACH: u32 = 16;

struct Params { cells: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ranges: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> statistics: array<atomic<u32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = ((group.y * groups.x + group.x) * WORKGROUP + lane) * CELLS_EACH;
  if (first >= params.cells) { return; }
  var extreme = vec2(0u, 0u);
  for (var cell = first; cell < min(first + CELLS_EACH, params.cells); cell++) {
    extreme = max(extreme, bitcast<vec2<u32>>(ranges[cell]) & vec2(0x7fffffffu));
  }
  atomicMax(&statistics[2], extreme.x);
  atomicMax(&statistics[3], extreme.y);
}
