// What the codes of rows of a quantized weight mean: (code − zero point) · scale. One invocation per weight.
override WORKGROUP: u32 = 64;
// 0: unsigned integers above an offset, 1: signed bytes, 2: e4m3, 3: e2m1.
override KIND: u32 = 0;
// 4 or 8.
override BITS: u32 = 4;

struct Params {
  first: u32,
  end: u32,
  columns: u32,
  stride: u32,
  // Place of the first of these rows among those of the buffer.
  first_row: u32,
  // Rows of the first cell that come before them.
  rows_before: u32,
  cell_rows: u32,
  cell_columns: u32,
  cells_per_row: u32,
  offset: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
// A scale and a zero point each.
@group(0) @binding(2) var<storage, read> cells: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> values: array<f32>;

fn decode(code: u32) -> f32 {
  if (KIND == 1u) { return f32(bitcast<i32>(code << (32u - BITS)) >> (32u - BITS)); }
  if (KIND == 2u) { return from_e4m3(code); }
  if (KIND == 3u) { return from_e2m1(code); }
  return f32(code) - params.offset;
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  let row = item / params.columns;
  let column = item % params.columns;
  let each = 32u / BITS;
  let code = (codes[item / each] >> (item % each * BITS)) & ((1u << BITS) - 1u);
  let cell_row = (params.rows_before + row) / params.cell_rows;
  let cell = cells[cell_row * params.cells_per_row + column / params.cell_columns];
  values[(params.first_row + row) * params.stride + column] = (decode(code) - cell.y) * cell.x;
}
