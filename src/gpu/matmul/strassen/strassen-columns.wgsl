// The largest magnitude of each column of a Linear's weight, as float32 bits: what columns are scaled by before quadrants are
// added. A workgroup takes 64 columns and walks down a run of rows: first those of each run are found, a row of them for each, then the
// largest of these, so that nothing is to be cleared.
override DTYPE: u32 = 2;

const WIDE = 16u;
const TALL = 16u;

struct Params {
  rows: u32,
  columns: u32,
  stride: u32,
  offset: u32,
  // Rows of a run.
  run: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> column_sizes: array<vec4<u32>>;

var<workgroup> found: array<vec4<u32>, WIDE * TALL>;

@compute @workgroup_size(WIDE, TALL)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) id: vec3<u32>,
) {
  let column = (group.x * WIDE + id.x) * 4u;
  var largest = vec4<u32>();
  if (column < params.columns) {
    let end = min((group.y + 1u) * params.run, params.rows);
    for (var row = group.y * params.run + id.y; row < end; row += TALL) {
      let four = load_four(params.offset + row * params.stride + column);
      largest = max(largest, bitcast<vec4<u32>>(abs(four)));
    }
  }
  found[id.y * WIDE + id.x] = largest;
  for (var half = TALL / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (id.y < half) {
      found[id.y * WIDE + id.x] = max(found[id.y * WIDE + id.x], found[(id.y + half) * WIDE + id.x]);
    }
  }
  if (id.y > 0u || column >= params.columns) { return; }
  column_sizes[(group.y * params.columns + column) / 4u] = found[id.x];
}
