// Smallest, largest and Σ|x| of each column over some rows: three runs of `columns` values in `extents`. A workgroup has a strip
// of columns; its lanes go through the rows side by side and are joined in a fixed order.
const STRIP: u32 = 32u;
const ROW_LANES: u32 = 8u;

struct Params {
  first_row: u32,
  end_row: u32,
  columns: u32,
  stride: u32,
  offset: u32,
  first_strip: u32,
  // 1 before anything was seen: what `extents` holds does not count.
  fresh: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> extents: array<f32>;

var<workgroup> low: array<f32, STRIP * ROW_LANES>;
var<workgroup> high: array<f32, STRIP * ROW_LANES>;
var<workgroup> sums: array<f32, STRIP * ROW_LANES>;

@compute @workgroup_size(STRIP, ROW_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = (params.first_strip + group.x) * STRIP + local.x;
  let lane = local.y * STRIP + local.x;
  let known = column < params.columns;
  // Lanes without a row of their own repeat the first, which moves neither end.
  var smallest = 0.0;
  var largest = 0.0;
  var sum = 0.0;
  if (known) {
    let first = values[params.offset + params.first_row * params.stride + column];
    smallest = first;
    largest = first;
    for (var row = params.first_row + local.y; row < params.end_row; row += ROW_LANES) {
      let value = values[params.offset + row * params.stride + column];
      smallest = min(smallest, value);
      largest = max(largest, value);
      sum += abs(value);
    }
  }
  low[lane] = smallest;
  high[lane] = largest;
  sums[lane] = sum;
  for (var half = ROW_LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local.y < half) {
      let other = lane + half * STRIP;
      low[lane] = min(low[lane], low[other]);
      high[lane] = max(high[lane], high[other]);
      sums[lane] += sums[other];
    }
  }
  if (local.y != 0u || !known) { return; }
  let highest = params.columns + column;
  let total = 2u * params.columns + column;
  if (params.fresh == 1u) {
    extents[column] = low[lane];
    extents[highest] = high[lane];
    extents[total] = sums[lane];
  } else {
    extents[column] = min(extents[column], low[lane]);
    extents[highest] = max(extents[highest], high[lane]);
    extents[total] += sums[lane];
  }
}
