// Smallest and largest value of each row under each candidate, scaled and rounded to the weight's dtype; both reach to 0. One
// workgroup per row and candidate.
override WORKGROUP: u32 = 64;

struct Params {
  rows: u32,
  columns: u32,
  dtype: u32,
  first_candidate: u32,
  first_item: u32,
  end_item: u32,
  first_extreme: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;
// (candidates, rows) from first_extreme on
@group(0) @binding(3) var<storage, read_write> extremes: array<vec2<f32>>;

var<workgroup> low: array<f32, WORKGROUP>;
var<workgroup> high: array<f32, WORKGROUP>;

fn weight_at(index: u32) -> f32 {
  if (params.dtype == DTYPE_F32) { return bitcast<f32>(weights[index]); }
  return widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, params.dtype);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first_item + group.y * groups.x + group.x;
  let candidate = params.first_candidate + item / params.rows;
  let row = item % params.rows;
  let columns = select(0u, params.columns, item < params.end_item);
  var smallest = 0.0;
  var largest = 0.0;
  for (var column = lane; column < columns; column += WORKGROUP) {
    let weight = weight_at(row * params.columns + column);
    let x = round_to_dtype(weight * factors[candidate * params.columns + column], params.dtype);
    smallest = min(smallest, x);
    largest = max(largest, x);
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
  if (lane == 0u && item < params.end_item) { extremes[params.first_extreme + item] = vec2(low[0], high[0]); }
}
