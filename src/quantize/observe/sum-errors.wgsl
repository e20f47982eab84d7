// Adds up the errors of all cells of a tile for one step, in a fixed order, into the step's word of `statistics`. One
// workgroup.
override WORKGROUP: u32 = 64;

const FIRST_STEP_WORD: u32 = 4u;

struct Params { cells: u32, step: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> best: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> statistics: array<u32>;

var<workgroup> sums: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var cell = lane; cell < params.cells; cell += WORKGROUP) { sum += best[cell].x; }
  sums[lane] = sum;
  for (var stride = WORKGROUP / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { sums[lane] += sums[lane + stride]; }
  }
  if (lane == 0u) { statistics[FIRST_STEP_WORD + params.step] = bitcast<u32>(sums[0]); }
}
