// Factors one diagonal block: D = L Lᵀ, in one workgroup, right-looking, column by column. Writes L over the block's lower
// triangle and the transposed inverse of L, zero-padded to BLOCK x BLOCK, to `inverse_t`: the rest of the column is then a
// product and no triangular solve. A pivot that is not positive ends the factorisation: its row is reported, and 1 is
// used in its place, so that what follows stays finite until the host looks.
override WORKGROUP: u32 = 64;
const BLOCK: u32 = 64u;
const PACKED: u32 = BLOCK * (BLOCK + 1u) / 2u;

struct Params { first_row: u32, local_row: u32, stride: u32, size: u32 }

// 0 while all is well, else the failed row plus one.
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> panel: array<f32>;
@group(0) @binding(2) var<storage, read_write> inverse_t: array<f32>;
@group(0) @binding(3) var<storage, read_write> failed_row: array<u32>;

// Lower triangle by rows: (i, j) at i (i + 1) / 2 + j. The full square would not leave room in 16 KiB.
var<workgroup> block: array<f32, PACKED>;

fn at(i: u32, j: u32) -> u32 { return i * (i + 1u) / 2u + j; }

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
  let size = params.size;
  for (var i = 0u; i < size; i++) {
    for (var j = lane; j <= i; j += WORKGROUP) {
      block[at(i, j)] = panel[(params.local_row + i) * params.stride + params.first_row + j];
    }
  }
  for (var column = 0u; column < size; column++) {
    workgroupBarrier();
    let pivot = block[at(column, column)];
    let good = pivot > 0.0 && pivot < 3.0e38;
    if (!good && lane == 0u && failed_row[0] == 0u) { failed_row[0] = params.first_row + column + 1u; }
    let root = sqrt(select(1.0, pivot, good));
    workgroupBarrier();
    for (var i = column + 1u + lane; i < size; i += WORKGROUP) { block[at(i, column)] /= root; }
    if (lane == 0u) { block[at(column, column)] = root; }
    workgroupBarrier();
    for (var i = column + 1u + lane; i < size; i += WORKGROUP) {
      let factor = block[at(i, column)];
      for (var j = column + 1u; j <= i; j++) { block[at(i, j)] -= factor * block[at(j, column)]; }
    }
  }
  workgroupBarrier();
  for (var i = 0u; i < size; i++) {
    for (var j = lane; j <= i; j += WORKGROUP) {
      panel[(params.local_row + i) * params.stride + params.first_row + j] = block[at(i, j)];
    }
  }
  // Each invocation solves for its own columns of the inverse; it reads back only what it wrote itself.
  for (var column = lane; column < BLOCK; column += WORKGROUP) {
    for (var i = 0u; i < BLOCK; i++) {
      var value = 0.0;
      if (i < size && column <= i) {
        value = select(0.0, 1.0, i == column);
        for (var j = column; j < i; j++) { value -= block[at(i, j)] * inverse_t[column * BLOCK + j]; }
        value /= block[at(i, i)];
      }
      inverse_t[column * BLOCK + i] = value;
    }
  }
}
