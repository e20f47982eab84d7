// H += alpha · Xᵀ X, lower triangle only, on the matrix units of a GPU: they multiply float16 and add in float32. A float32 of X
// becomes the sum of two halves, which hold 22 of its 24 bits; of the products of two such pairs the smallest, below 2^-22, is
// left out. X is scaled by a power of two so that its largest magnitude is below 2^14: halves end at 65,504, and lose bits
// below 2^-14.
//
// The wrapper adds what is known of the GPU at hand: MATRIX_M, MATRIX_N, MATRIX_K and SUBGROUP. Four subgroups share a tile of
// results; each holds four by four matrices of it. Those are spelled out, since compilers put arrays of matrices into slow memory,
// and so are steps along the rows of X: the wrapper repeats the block of one.
enable f16;
enable chromium_experimental_subgroup_matrix;
// Which results are a subgroup's own follows from its invocations' indices; the analysis of uniformity cannot see that.
diagnostic(off, chromium.subgroup_matrix_uniformity);

const LANES = 4u * SUBGROUP;
// Matrices are square, and so are tiles.
const TILE = 8u * MATRIX_M;
// Rows of X at a time: so many that an invocation brings four vectors of each operand.
const TILE_K = 8u * SUBGROUP / MATRIX_M;
// Vectors of a row of an operand's tile, and how many rows the invocations bring at once.
const ACROSS = TILE / 4u;
const ROWS = LANES / ACROSS;
// Four halves each; two of them a row keep rows off each other's banks.
const ROW = ACROSS + 2u;
const MATRIX_PAIRS = MATRIX_M * MATRIX_N / 2u;

alias Left = subgroup_matrix_left<f16, MATRIX_K, MATRIX_M>;
alias Right = subgroup_matrix_right<f16, MATRIX_N, MATRIX_K>;
alias Sum = subgroup_matrix_result<f32, MATRIX_N, MATRIX_M>;

struct Params {
  // Rows and columns of the panel.
  m: u32,
  n: u32,
  // Rows of X, a multiple of TILE_K.
  k: u32,
  x_stride: u32,
  x_offset: u32,
  c_stride: u32,
  // The panel's first row in the whole matrix.
  row_origin: u32,
  alpha: f32,
  tiles_n: u32,
  first_tile: u32,
  end_tile: u32,
  slot: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> largest: array<u32>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;

// Row by row as X lies: of the left operand, whose columns are rows of the result, and of the right one.
var<workgroup> a_high: array<vec2<u32>, max(TILE_K * ROW, 4u * MATRIX_PAIRS)>;
var<workgroup> a_low: array<vec2<u32>, TILE_K * ROW>;
var<workgroup> b_high: array<vec2<u32>, TILE_K * ROW>;
var<workgroup> b_low: array<vec2<u32>, TILE_K * ROW>;

// Where an invocation reads X for the tile whose first column is given. Columns past the last one read that: what comes of it
// is never stored.
fn start(lane: u32, first_column: u32, columns: u32) -> u32 {
  let vector = min(first_column / 4u + lane % ACROSS, (columns - 1u) / 4u);
  return (params.x_offset + lane / ACROSS * params.x_stride) / 4u + vector;
}

fn a_store(lane: u32, i: u32, values: vec4<f32>) {
  let high = high_of(values);
  let place = (i * ROWS + lane / ACROSS) * ROW + lane % ACROSS;
  a_high[place] = pack(high);
  a_low[place] = pack(values - high);
}

fn b_store(lane: u32, i: u32, values: vec4<f32>) {
  let high = high_of(values);
  let place = (i * ROWS + lane / ACROSS) * ROW + lane % ACROSS;
  b_high[place] = pack(high);
  b_low[place] = pack(values - high);
}

fn put(row: u32, column: u32, values: vec4<f32>) {
  if (row >= params.m || column >= params.n) { return; }
  c[(row * params.c_stride + column) / 4u] += values;
}

// Results leave through workgroup memory: how a matrix lies in registers is the GPU's business. Each subgroup has written
// one matrix there, whose first result is (row0, column0).
fn leave(own: u32, within: u32, row0: u32, column0: u32, back: f32) {
  workgroupBarrier();
  for (var four = within; four < MATRIX_PAIRS / 2u; four += SUBGROUP) {
    let place = own * MATRIX_PAIRS + four * 2u;
    let values = bitcast<vec4<f32>>(vec4(a_high[place], a_high[place + 1u]));
    put(row0 + four * 4u / MATRIX_N, column0 + four * 4u % MATRIX_N, params.alpha * (values * back * back));
  }
  workgroupBarrier();
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = params.first_tile + group.y * groups.x + group.x;
  if (tile >= params.end_tile) { return; }
  let row0 = tile / params.tiles_n * TILE;
  let column0 = tile % params.tiles_n * TILE;
  if (column0 > params.row_origin + row0 + TILE - 1u) { return; }
  let own = lane / SUBGROUP;
  let own_row = own / 2u * 4u * MATRIX_M;
  let own_column = own % 2u * 4u * MATRIX_N;
  let exponent = exponent_for(largest[params.slot * 2u], 60);
  let scale = power_of_two(exponent);

  var s00: Sum; var s01: Sum; var s02: Sum; var s03: Sum;
  var s10: Sum; var s11: Sum; var s12: Sum; var s13: Sum;
  var s20: Sum; var s21: Sum; var s22: Sum; var s23: Sum;
  var s30: Sum; var s31: Sum; var s32: Sum; var s33: Sum;
  let across = params.x_stride / 4u * ROWS;
  var a_at = start(lane, params.row_origin + row0, params.row_origin + params.m);
  var b_at = start(lane, column0, params.n);
  var a_next0 = x[a_at]; var a_next1 = x[a_at + across];
  var a_next2 = x[a_at + 2u * across]; var a_next3 = x[a_at + 3u * across];
  var b_next0 = x[b_at]; var b_next1 = x[b_at + across];
  var b_next2 = x[b_at + 2u * across]; var b_next3 = x[b_at + 3u * across];
  for (var k = 0u; k < params.k; k += TILE_K) {
    a_store(lane, 0u, a_next0 * scale); a_store(lane, 1u, a_next1 * scale);
    a_store(lane, 2u, a_next2 * scale); a_store(lane, 3u, a_next3 * scale);
    b_store(lane, 0u, b_next0 * scale); b_store(lane, 1u, b_next1 * scale);
    b_store(lane, 2u, b_next2 * scale); b_store(lane, 3u, b_next3 * scale);
    workgroupBarrier();
    a_at += 4u * across;
    b_at += 4u * across;
    a_next0 = x[a_at]; a_next1 = x[a_at + across];
    a_next2 = x[a_at + 2u * across]; a_next3 = x[a_at + 3u * across];
    b_next0 = x[b_at]; b_next1 = x[b_at + across];
    b_next2 = x[b_at + 2u * across]; b_next3 = x[b_at + 3u * across];
    { const step = 0u;
      let left = step * MATRIX_K * ROW + own_row / 4u;
      let h0 = subgroupMatrixLoad<Left, col_major>(&a_high, left + 0u * MATRIX_M / 4u, ROW);
      let h1 = subgroupMatrixLoad<Left, col_major>(&a_high, left + 1u * MATRIX_M / 4u, ROW);
      let h2 = subgroupMatrixLoad<Left, col_major>(&a_high, left + 2u * MATRIX_M / 4u, ROW);
      let h3 = subgroupMatrixLoad<Left, col_major>(&a_high, left + 3u * MATRIX_M / 4u, ROW);
      let l0 = subgroupMatrixLoad<Left, col_major>(&a_low, left + 0u * MATRIX_M / 4u, ROW);
      let l1 = subgroupMatrixLoad<Left, col_major>(&a_low, left + 1u * MATRIX_M / 4u, ROW);
      let l2 = subgroupMatrixLoad<Left, col_major>(&a_low, left + 2u * MATRIX_M / 4u, ROW);
      let l3 = subgroupMatrixLoad<Left, col_major>(&a_low, left + 3u * MATRIX_M / 4u, ROW);
      let right = step * MATRIX_K * ROW + own_column / 4u;
      let r0 = subgroupMatrixLoad<Right, row_major>(&b_high, right + 0u * MATRIX_N / 4u, ROW);
      s00 = subgroupMatrixMultiplyAccumulate(h0, r0, s00);
      s10 = subgroupMatrixMultiplyAccumulate(h1, r0, s10);
      s20 = subgroupMatrixMultiplyAccumulate(h2, r0, s20);
      s30 = subgroupMatrixMultiplyAccumulate(h3, r0, s30);
      s00 = subgroupMatrixMultiplyAccumulate(l0, r0, s00);
      s10 = subgroupMatrixMultiplyAccumulate(l1, r0, s10);
      s20 = subgroupMatrixMultiplyAccumulate(l2, r0, s20);
      s30 = subgroupMatrixMultiplyAccumulate(l3, r0, s30);
      let q0 = subgroupMatrixLoad<Right, row_major>(&b_low, right + 0u * MATRIX_N / 4u, ROW);
      s00 = subgroupMatrixMultiplyAccumulate(h0, q0, s00);
      s10 = subgroupMatrixMultiplyAccumulate(h1, q0, s10);
      s20 = subgroupMatrixMultiplyAccumulate(h2, q0, s20);
      s30 = subgroupMatrixMultiplyAccumulate(h3, q0, s30);
      let r1 = subgroupMatrixLoad<Right, row_major>(&b_high, right + 1u * MATRIX_N / 4u, ROW);
      s01 = subgroupMatrixMultiplyAccumulate(h0, r1, s01);
      s11 = subgroupMatrixMultiplyAccumulate(h1, r1, s11);
      s21 = subgroupMatrixMultiplyAccumulate(h2, r1, s21);
      s31 = subgroupMatrixMultiplyAccumulate(h3, r1, s31);
      s01 = subgroupMatrixMultiplyAccumulate(l0, r1, s01);
      s11 = subgroupMatrixMultiplyAccumulate(l1, r1, s11);
      s21 = subgroupMatrixMultiplyAccumulate(l2, r1, s21);
      s31 = subgroupMatrixMultiplyAccumulate(l3, r1, s31);
      let q1 = subgroupMatrixLoad<Right, row_major>(&b_low, right + 1u * MATRIX_N / 4u, ROW);
      s01 = subgroupMatrixMultiplyAccumulate(h0, q1, s01);
      s11 = subgroupMatrixMultiplyAccumulate(h1, q1, s11);
      s21 = subgroupMatrixMultiplyAccumulate(h2, q1, s21);
      s31 = subgroupMatrixMultiplyAccumulate(h3, q1, s31);
      let r2 = subgroupMatrixLoad<Right, row_major>(&b_high, right + 2u * MATRIX_N / 4u, ROW);
      s02 = subgroupMatrixMultiplyAccumulate(h0, r2, s02);
      s12 = subgroupMatrixMultiplyAccumulate(h1, r2, s12);
      s22 = subgroupMatrixMultiplyAccumulate(h2, r2, s22);
      s32 = subgroupMatrixMultiplyAccumulate(h3, r2, s32);
      s02 = subgroupMatrixMultiplyAccumulate(l0, r2, s02);
      s12 = subgroupMatrixMultiplyAccumulate(l1, r2, s12);
      s22 = subgroupMatrixMultiplyAccumulate(l2, r2, s22);
      s32 = subgroupMatrixMultiplyAccumulate(l3, r2, s32);
      let q2 = subgroupMatrixLoad<Right, row_major>(&b_low, right + 2u * MATRIX_N / 4u, ROW);
      s02 = subgroupMatrixMultiplyAccumulate(h0, q2, s02);
      s12 = subgroupMatrixMultiplyAccumulate(h1, q2, s12);
      s22 = subgroupMatrixMultiplyAccumulate(h2, q2, s22);
      s32 = subgroupMatrixMultiplyAccumulate(h3, q2, s32);
      let r3 = subgroupMatrixLoad<Right, row_major>(&b_high, right + 3u * MATRIX_N / 4u, ROW);
      s03 = subgroupMatrixMultiplyAccumulate(h0, r3, s03);
      s13 = subgroupMatrixMultiplyAccumulate(h1, r3, s13);
      s23 = subgroupMatrixMultiplyAccumulate(h2, r3, s23);
      s33 = subgroupMatrixMultiplyAccumulate(h3, r3, s33);
      s03 = subgroupMatrixMultiplyAccumulate(l0, r3, s03);
      s13 = subgroupMatrixMultiplyAccumulate(l1, r3, s13);
      s23 = subgroupMatrixMultiplyAccumulate(l2, r3, s23);
      s33 = subgroupMatrixMultiplyAccumulate(l3, r3, s33);
      let q3 = subgroupMatrixLoad<Right, row_major>(&b_low, right + 3u * MATRIX_N / 4u, ROW);
      s03 = subgroupMatrixMultiplyAccumulate(h0, q3, s03);
      s13 = subgroupMatrixMultiplyAccumulate(h1, q3, s13);
      s23 = subgroupMatrixMultiplyAccumulate(h2, q3, s23);
      s33 = subgroupMatrixMultiplyAccumulate(h3, q3, s33);
    } // step
    workgroupBarrier();
  }

  let back = power_of_two(-exponent);
  let within = lane % SUBGROUP;
  let out = own * MATRIX_PAIRS;
  let row = row0 + own_row;
  let column = column0 + own_column;
  subgroupMatrixStore<row_major>(&a_high, out, s00, MATRIX_N / 2u);
  leave(own, within, row + 0u * MATRIX_M, column + 0u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s01, MATRIX_N / 2u);
  leave(own, within, row + 0u * MATRIX_M, column + 1u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s02, MATRIX_N / 2u);
  leave(own, within, row + 0u * MATRIX_M, column + 2u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s03, MATRIX_N / 2u);
  leave(own, within, row + 0u * MATRIX_M, column + 3u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s10, MATRIX_N / 2u);
  leave(own, within, row + 1u * MATRIX_M, column + 0u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s11, MATRIX_N / 2u);
  leave(own, within, row + 1u * MATRIX_M, column + 1u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s12, MATRIX_N / 2u);
  leave(own, within, row + 1u * MATRIX_M, column + 2u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s13, MATRIX_N / 2u);
  leave(own, within, row + 1u * MATRIX_M, column + 3u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s20, MATRIX_N / 2u);
  leave(own, within, row + 2u * MATRIX_M, column + 0u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s21, MATRIX_N / 2u);
  leave(own, within, row + 2u * MATRIX_M, column + 1u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s22, MATRIX_N / 2u);
  leave(own, within, row + 2u * MATRIX_M, column + 2u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s23, MATRIX_N / 2u);
  leave(own, within, row + 2u * MATRIX_M, column + 3u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s30, MATRIX_N / 2u);
  leave(own, within, row + 3u * MATRIX_M, column + 0u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s31, MATRIX_N / 2u);
  leave(own, within, row + 3u * MATRIX_M, column + 1u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s32, MATRIX_N / 2u);
  leave(own, within, row + 3u * MATRIX_M, column + 2u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s33, MATRIX_N / 2u);
  leave(own, within, row + 3u * MATRIX_M, column + 3u * MATRIX_N, back);
}
