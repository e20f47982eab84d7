// The rows below a diagonal block: L_below = A_below · L_diagonal^-T. Writes them in place and, zero-padded to BLOCK columns,
// into `strip`, from where what is subtracted from the columns that follow takes both of its operands. Where the factorisation has
// failed, rows stay as they are, and zeros go into the strip: nothing more is subtracted.
const BLOCK: u32 = 64u;
const ROWS: u32 = 16u;
const LANES: u32 = 256u; // ROWS rows, each with BLOCK / 4 lanes of four columns

struct Params {
  first_column: u32,
  size: u32,
  stride: u32,
  first_local_row: u32,
  end_local_row: u32,
  panel_first_row: u32,
  strip_column: u32,
  strip_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> panel: array<f32>;
@group(0) @binding(2) var<storage, read> inverse_t: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> strip: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> failed_row: array<u32>;

var<workgroup> rows: array<f32, ROWS * BLOCK>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first = params.first_local_row + group.x * ROWS;
  for (var i = lane; i < ROWS * BLOCK; i += LANES) {
    let row = first + i / BLOCK;
    let column = i % BLOCK;
    let inside = row < params.end_local_row && column < params.size;
    rows[i] = select(0.0, panel[row * params.stride + params.first_column + column], inside);
  }
  workgroupBarrier();
  let row = lane / (BLOCK / 4u);
  let column = lane % (BLOCK / 4u) * 4u;
  var sum = vec4<f32>();
  // column c of L^-T is row c of L^-1: entries j <= c
  for (var j = 0u; j < params.size; j++) {
    sum += rows[row * BLOCK + j] * inverse_t[(j * BLOCK + column) / 4u];
  }
  if (first + row >= params.end_local_row) { return; }
  let failed = failed_row[0] != 0u;
  let target_row = (first + row) * params.stride + params.first_column;
  for (var i = 0u; i < 4u; i++) {
    if (column + i < params.size && !failed) { panel[target_row + column + i] = sum[i]; }
  }
  strip[((params.panel_first_row + first + row) * params.strip_stride + params.strip_column + column) / 4u] = select(sum, vec4(0.0), failed);
}
