// The largest magnitude of each row of a matrix whose columns are scaled, as float32 bits. A workgroup takes a row.
override DTYPE: u32 = 2;
// Activations, else the weight.
override LEFT: bool = true;

const WORKGROUP = 256u;

struct Params {
  rows: u32,
  columns: u32,
  stride: u32,
  offset: u32,
  first_row: u32,
  end_row: u32,
  // Word of `row_sizes` for the first row.
  rows_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<vec4<u32>>;
// Largest magnitudes as float32 bits.
@group(0) @binding(2) var<storage, read> column_sizes: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> row_sizes: array<u32>;

var<workgroup> largest_bits: atomic<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = params.first_row + group.y * groups.x + group.x;
  if (row >= params.end_row) { return; }
  var largest = vec4<u32>();
  for (var column = lane * 4u; column < params.columns; column += WORKGROUP * 4u) {
    largest = max(largest, bitcast<vec4<u32>>(abs(scaled_four(row, column))));
  }
  atomicMax(&largest_bits, max(max(largest.x, largest.y), max(largest.z, largest.w)));
  workgroupBarrier();
  if (lane == 0u) { row_sizes[params.rows_at + row] = atomicLoad(&largest_bits); }
}
