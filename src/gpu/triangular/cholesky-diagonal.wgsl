// Factors one diagonal block: D = L Lᵀ, in one workgroup, right-looking, column by column. Writes L over the block's lower
// triangle and the transposed inverse of L, zero-padded to BLOCK x BLOCK, to `inverse_t`: the rest of the column is then a
// product and no triangular solve. A pivot that is not positive ends the factorisation: its row is reported, and this block and
// all that follow stay as they are, so that the matrix can be put together again.
//
// Each invocation keeps 4 x 4 entries of the block in registers, and of the inverse, which starts as the identity and goes
// through the same eliminations. A column of the one and a row of the other go to all through workgroup memory, with one
// barrier a column: the block is on the way of everything else, so its latency counts.
const BLOCK: u32 = 64u;
const QUADS: u32 = BLOCK / 4u;
const LANES: u32 = QUADS * QUADS;

struct Params { first_row: u32, local_row: u32, stride: u32, size: u32 }

// 0 while all is well, else the failed row plus one.
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> panel: array<f32>;
@group(0) @binding(2) var<storage, read_write> inverse_t: array<f32>;
@group(0) @binding(3) var<storage, read_write> failed_row: array<u32>;

// The next column of the block and row of the inverse, before both are divided by the pivot's root; two sets.
var<workgroup> columns: array<vec4<f32>, 2u * QUADS>;
var<workgroup> rows: array<vec4<f32>, 2u * QUADS>;

// Past the block's end lies the identity.
fn entry(i: u32, j: u32) -> f32 {
  if (i < params.size && j <= i) { return panel[(params.local_row + i) * params.stride + params.first_row + j]; }
  return select(0.0, 1.0, i == j);
}

fn identity_row(i: u32, j: u32) -> vec4<f32> {
  return select(vec4(0.0), vec4(1.0), vec4(j, j + 1u, j + 2u, j + 3u) == vec4(i));
}

fn entry_row(i: u32, j: u32) -> vec4<f32> {
  return vec4(entry(i, j), entry(i, j + 1u), entry(i, j + 2u), entry(i, j + 3u));
}

fn put(i: u32, j: u32, value: f32, inverse: f32) {
  let inside = i < params.size && j <= i;
  if (inside) { panel[(params.local_row + i) * params.stride + params.first_row + j] = value; }
  inverse_t[j * BLOCK + i] = select(0.0, inverse, inside);
}

fn put_row(i: u32, j: u32, values: vec4<f32>, inverses: vec4<f32>) {
  put(i, j, values.x, inverses.x);
  put(i, j + 1u, values.y, inverses.y);
  put(i, j + 2u, values.z, inverses.z);
  put(i, j + 3u, values.w, inverses.w);
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  let y = lane / QUADS;
  let x = lane % QUADS;
  let i = y * 4u;
  let j = x * 4u;
  let own_rows = vec4(i, i + 1u, i + 2u, i + 3u);
  let own_columns = vec4(j, j + 1u, j + 2u, j + 3u);
  var l0 = entry_row(i, j);
  var l1 = entry_row(i + 1u, j);
  var l2 = entry_row(i + 2u, j);
  var l3 = entry_row(i + 3u, j);
  var m0 = identity_row(i, j);
  var m1 = identity_row(i + 1u, j);
  var m2 = identity_row(i + 2u, j);
  var m3 = identity_row(i + 3u, j);
  var whole = failed_row[0] == 0u;
  for (var column = 0u; column < BLOCK; column++) {
    let quad = column / 4u;
    let k = column % 4u;
    let turn = (column & 1u) * QUADS;
    if (x == quad) { columns[turn + y] = vec4(l0[k], l1[k], l2[k], l3[k]); }
    if (y == quad) { rows[turn + x] = select(select(m3, m2, k == 2u), select(m1, m0, k == 0u), k < 2u); }
    workgroupBarrier();
    let pivot = columns[turn + quad][k];
    let good = pivot > 0.0 && pivot < 3.0e38;
    if (!good && whole && lane == 0u) { failed_row[0] = params.first_row + column + 1u; }
    whole = whole && good;
    let root = sqrt(select(1.0, pivot, good));
    // Zero for rows and columns that are done with.
    let down = select(vec4(0.0), columns[turn + y] / root, own_rows > vec4(column));
    let across = select(vec4(0.0), columns[turn + x] / root, own_columns > vec4(column));
    let inverse = rows[turn + x] / root;
    l0 -= down.x * across; m0 -= down.x * inverse;
    l1 -= down.y * across; m1 -= down.y * inverse;
    l2 -= down.z * across; m2 -= down.z * inverse;
    l3 -= down.w * across; m3 -= down.w * inverse;
    let is_column = own_columns == vec4(column);
    l0 = select(l0, vec4(select(down.x, root, i == column)), is_column);
    l1 = select(l1, vec4(select(down.y, root, i + 1u == column)), is_column);
    l2 = select(l2, vec4(select(down.z, root, i + 2u == column)), is_column);
    l3 = select(l3, vec4(select(down.w, root, i + 3u == column)), is_column);
    m0 = select(m0, inverse, i == column);
    m1 = select(m1, inverse, i + 1u == column);
    m2 = select(m2, inverse, i + 2u == column);
    m3 = select(m3, inverse, i + 3u == column);
  }
  if (!whole) { return; }
  put_row(i, j, l0, m0);
  put_row(i + 1u, j, l1, m1);
  put_row(i + 2u, j, l2, m2);
  put_row(i + 3u, j, l3, m3);
}
