// Smallest, largest and Σ|x| of each column over some rows, as column-strips.wgsl cuts them: three runs of `columns` values in
// `extents`.
@group(0) @binding(2) var<storage, read_write> extents: array<f32>;

var<workgroup> low: array<f32, STRIP * ROW_LANES>;
var<workgroup> high: array<f32, STRIP * ROW_LANES>;
var<workgroup> sums: array<f32, STRIP * ROW_LANES>;

// Past the last row the first one, which moves neither end.
fn value_at(row: u32, column: u32) -> f32 {
  let own = select(params.first_row, row, row < params.end_row);
  return values[params.offset + own * params.stride + column];
}

// A lane's next four rows.
fn four_rows(row: u32) -> vec4<u32> {
  return row + ROW_LANES * vec4(0u, 1u, 2u, 3u);
}

fn four_at(rows: vec4<u32>, column: u32) -> vec4<f32> {
  return vec4(value_at(rows.x, column), value_at(rows.y, column), value_at(rows.z, column), value_at(rows.w, column));
}

fn magnitudes(rows: vec4<u32>, four: vec4<f32>) -> vec4<f32> {
  return select(vec4(0.0), abs(four), rows < vec4(params.end_row));
}

@compute @workgroup_size(STRIP, ROW_LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let column = (params.first_strip + group.x) * STRIP + local.x;
  let lane = local.y * STRIP + local.x;
  let known = column < params.columns;
  // Lanes without a row of their own repeat the first, which moves neither end.
  var smallest = 0.0;
  var largest = 0.0;
  let own = local.y * params.columns + column;
  let blocks = ROW_LANES * params.columns + column;
  var sum = 0.0;
  if (known) {
    if (params.fresh == 0u) { sum = lane_sums[own]; }
    let first = values[params.offset + params.first_row * params.stride + column];
    smallest = first;
    largest = first;
    // Eight rows are asked for before they are added, one after the other: alone each would be waited for.
    for (var row = first_row_of(local.y); row < params.end_row; row += 8u * ROW_LANES) {
      let rows = four_rows(row);
      let next_rows = four_rows(row + 4u * ROW_LANES);
      let four = four_at(rows, column);
      let next_four = four_at(next_rows, column);
      let least = min(four, next_four);
      let most = max(four, next_four);
      smallest = min(smallest, min(min(least.x, least.y), min(least.z, least.w)));
      largest = max(largest, max(max(most.x, most.y), max(most.z, most.w)));
      let added = magnitudes(rows, four);
      sum += added.x; sum += added.y; sum += added.z; sum += added.w;
      let next = magnitudes(next_rows, next_four);
      sum += next.x; sum += next.y; sum += next.z; sum += next.w;
    }
    lane_sums[own] = select(sum, 0.0, params.ends == 1u);
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
  var before = 0.0;
  if (params.fresh == 1u) {
    extents[column] = low[lane];
    extents[highest] = high[lane];
  } else {
    extents[column] = min(extents[column], low[lane]);
    extents[highest] = max(extents[highest], high[lane]);
    before = lane_sums[blocks];
  }
  let all = before + sums[lane];
  extents[total] = all;
  lane_sums[blocks] = select(before, all, params.ends == 1u);
}
