// Largest magnitudes of the negative and of the positive numbers of some rows, raised in the two words of a slot. Ranges
// reach to 0, so both are at least 0, and their bits sort as unsigned integers. One workgroup per row.
override WORKGROUP: u32 = 64;

struct Params { first_row: u32, end_row: u32, columns: u32, stride: u32, offset: u32, slot: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> magnitudes: array<atomic<u32>>;

var<workgroup> low: array<f32, WORKGROUP>;
var<workgroup> high: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = params.first_row + group.y * groups.x + group.x;
  var smallest = 0.0;
  var largest = 0.0;
  if (row < params.end_row) {
    for (var column = lane; column < params.columns; column += WORKGROUP) {
      let value = values[params.offset + row * params.stride + column];
      smallest = min(smallest, value);
      largest = max(largest, value);
    }
  }
  low[lane] = smallest;
  high[lane] = largest;
  for (var stride = WORKGROUP / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) {
      low[lane] = min(low[lane], low[lane + stride]);
      high[lane] = max(high[lane], high[lane + stride]);
    }
  }
  if (lane != 0u) { return; }
  atomicMax(&magnitudes[2u * params.slot], bitcast<u32>(abs(low[0])));
  atomicMax(&magnitudes[2u * params.slot + 1u], bitcast<u32>(high[0]));
}
