// Smallest and largest weight of each cell: the rectangle that shares one scale. `lanes` invocations, a power of two, share a
// cell. Ranges reach to 0 on both sides, so that both ends are magnitudes. These are compared as bits: where it computes with floats,
// a GPU may take subnormals for 0.
// weights is (rows, columns) row-major in its own dtype; ranges is (cells of a column, cells_per_row).
override WORKGROUP: u32 = 64;

struct Params {
  rows: u32,
  columns: u32,
  dtype: u32,
  cell_rows: u32,
  cell_columns: u32,
  cells_per_row: u32,
  first_cell: u32,
  end_cell: u32,
  lanes: u32,
}

struct Nonfinite { count: atomic<u32>, first: atomic<u32> }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read_write> ranges: array<vec2<f32>>;
// How many NaN or Inf were met, and 2^32 - 1 minus the index of the first one (0: none).
@group(0) @binding(3) var<storage, read_write> nonfinite: Nonfinite;

// Bits of the magnitudes of the smallest weight and of the largest.
var<workgroup> reached: array<vec2<u32>, WORKGROUP>;

fn weight_at(index: u32) -> f32 {
  if (params.dtype == DTYPE_F32) { return bitcast<f32>(weights[index]); }
  return widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, params.dtype);
}

fn range_of(ends: vec2<u32>) -> vec2<f32> {
  let sign = select(0u, F32_SIGN, ends.x != 0u);
  return vec2(bitcast<f32>(sign | ends.x), bitcast<f32>(ends.y));
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let cells_each = WORKGROUP / params.lanes;
  let cell = params.first_cell + (group.y * groups.x + group.x) * cells_each + lane / params.lanes;
  let own_lane = lane % params.lanes;
  let first_row = cell / params.cells_per_row * params.cell_rows;
  let first_column = cell % params.cells_per_row * params.cell_columns;
  let cell_rows = min(params.cell_rows, params.rows - min(first_row, params.rows));
  let cell_columns = min(params.cell_columns, params.columns - first_column);
  var ends = vec2(0u, 0u);
  if (cell < params.end_cell) {
    for (var i = own_lane; i < cell_rows * cell_columns; i += params.lanes) {
      let index = (first_row + i / cell_columns) * params.columns + first_column + i % cell_columns;
      let weight = weight_at(index);
      if (is_nonfinite(weight)) {
        atomicAdd(&nonfinite.count, 1u);
        atomicMax(&nonfinite.first, 0xffffffffu - index);
      }
      let bits = bitcast<u32>(weight);
      let magnitude = bits & ~F32_SIGN;
      ends = max(ends, select(vec2(magnitude, 0u), vec2(0u, magnitude), bits == magnitude));
    }
  }
  reached[lane] = ends;
  for (var stride = params.lanes / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (own_lane < stride) { reached[lane] = max(reached[lane], reached[lane + stride]); }
  }
  if (own_lane == 0u && cell < params.end_cell) { ranges[cell] = range_of(reached[lane]); }
}
