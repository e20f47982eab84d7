// C = alpha · A · Bᵀ, or C += that, on the matrix units of a GPU: they multiply float16 and add in float32. A float32 of A
// becomes the sum of two halves, which hold 22 of its 24 bits; a bfloat16 or float16 of B is one half. Operands are scaled by
// powers of two so that the largest magnitude is below 2^14: halves end at 65,504, and lose bits below 2^-14.
//
// The wrapper adds what is known of the GPU at hand: MATRIX_M, MATRIX_N, MATRIX_K and SUBGROUP, and whether tiles are WIDE. Four
// subgroups share a tile of results, or eight a wide one, and twice as much of k at a time; each holds four by four matrices of it.
// Those are spelled out, since compilers put arrays of matrices into slow memory, and so are steps along k: the wrapper repeats the
// block of one. Operands lie in vectors of 16 bytes, which GPUs bring to their matrix units at once.
enable f16;
enable chromium_experimental_subgroup_matrix;
// Which results are a subgroup's own follows from its invocations' indices; the analysis of uniformity cannot see that.
diagnostic(off, chromium.subgroup_matrix_uniformity);

override B_DTYPE: u32 = 0;
override ACCUMULATE: bool = false;

const SUBGROUPS = select(4u, 8u, WIDE);
const ACROSS_SUBGROUPS = SUBGROUPS / 2u;
const LANES = SUBGROUPS * SUBGROUP;
// Matrices are square.
const TILE_M = 8u * MATRIX_M;
const TILE_N = ACROSS_SUBGROUPS * 4u * MATRIX_N;
// So deep that an invocation brings two runs of eight values of A, and two of B or four.
const TILE_K = 2u * SUBGROUPS * SUBGROUP / MATRIX_M;
// Invocations that bring a row of a tile, and rows that all bring at once.
const ACROSS = TILE_K / 8u;
const ROWS = 4u * MATRIX_M;
// Eight halves each; one of them a row keeps rows off each other's banks.
const ROW = ACROSS + 1u;
const MATRIX_FOURS = MATRIX_M * MATRIX_N / 4u;

alias Left = subgroup_matrix_left<f16, MATRIX_K, MATRIX_M>;
alias Right = subgroup_matrix_right<f16, MATRIX_N, MATRIX_K>;
alias Sum = subgroup_matrix_result<f32, MATRIX_N, MATRIX_M>;

struct Params {
  m: u32,
  n: u32,
  k: u32,
  a_stride: u32,
  b_stride: u32,
  c_stride: u32,
  a_offset: u32,
  b_offset: u32,
  c_offset: u32,
  alpha: f32,
  tiles_n: u32,
  first_tile: u32,
  end_tile: u32,
  slot: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> largest: array<u32>;
@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>;

// Results leave through it, a matrix of each subgroup at a time.
var<workgroup> a_high: array<vec4<u32>, max(TILE_M * ROW, SUBGROUPS * MATRIX_FOURS)>;
var<workgroup> a_low: array<vec4<u32>, TILE_M * ROW>;
var<workgroup> b_tile: array<vec4<u32>, TILE_N * ROW>;

// Rows past m and n read the last one: what comes of it is never stored.
fn a_start(lane: u32, i: u32, row0: u32) -> u32 {
  let row = min(row0 + i * ROWS + lane / ACROSS, params.m - 1u);
  return (params.a_offset + row * params.a_stride) / 4u + lane % ACROSS * 2u;
}

fn b_start(lane: u32, i: u32, column0: u32) -> u32 {
  let column = min(column0 + i * ROWS + lane / ACROSS, params.n - 1u);
  return (params.b_offset + column * params.b_stride) / 8u + lane % ACROSS;
}

// Where an invocation puts what it brings i-th.
fn place_of(lane: u32, i: u32) -> u32 {
  return (i * ROWS + lane / ACROSS) * ROW + lane % ACROSS;
}

fn a_store(lane: u32, i: u32, first: vec4<f32>, second: vec4<f32>) {
  let first_high = high_of(first);
  let second_high = high_of(second);
  let place = place_of(lane, i);
  a_high[place] = vec4(pack(first_high), pack(second_high));
  a_low[place] = vec4(pack(first - first_high), pack(second - second_high));
}

// Two values of B as halves.
fn two_halves(word: u32, scale: f32) -> u32 {
  var values = unpack2x16float(word);
  if (B_DTYPE == DTYPE_BF16) { values = bitcast<vec2<f32>>(vec2(word << 16u, word & 0xffff0000u)); }
  return pack2x16float(values * scale);
}

fn b_store(lane: u32, i: u32, words: vec4<u32>, scale: f32) {
  b_tile[place_of(lane, i)] = vec4(
    two_halves(words.x, scale),
    two_halves(words.y, scale),
    two_halves(words.z, scale),
    two_halves(words.w, scale),
  );
}

fn put(row: u32, column: u32, values: vec4<f32>) {
  if (row >= params.m || column >= params.n) { return; }
  let index = (params.c_offset + row * params.c_stride + column) / 4u;
  if (ACCUMULATE) { c[index] += values; } else { c[index] = values; }
}

// Results leave through workgroup memory: how a matrix lies in registers is the GPU's business. Each subgroup has written
// one matrix there, whose first result is (row0, column0).
fn leave(own: u32, within: u32, row0: u32, column0: u32, back: vec2<f32>) {
  workgroupBarrier();
  for (var four = within; four < MATRIX_FOURS; four += SUBGROUP) {
    let values = bitcast<vec4<f32>>(a_high[own * MATRIX_FOURS + four]);
    put(row0 + four * 4u / MATRIX_N, column0 + four * 4u % MATRIX_N, params.alpha * (values * back.x * back.y));
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
  let row0 = tile / params.tiles_n * TILE_M;
  let column0 = tile % params.tiles_n * TILE_N;
  let own = lane / SUBGROUP;
  let own_row = own / ACROSS_SUBGROUPS * 4u * MATRIX_M;
  let own_column = own % ACROSS_SUBGROUPS * 4u * MATRIX_N;
  let a_exponent = exponent_for(largest[params.slot * 2u], 100);
  let b_exponent = exponent_for(largest[params.slot * 2u + 1u], 100);
  let a_scale = power_of_two(a_exponent);
  let b_scale = power_of_two(b_exponent);

  var s00: Sum; var s01: Sum; var s02: Sum; var s03: Sum;
  var s10: Sum; var s11: Sum; var s12: Sum; var s13: Sum;
  var s20: Sum; var s21: Sum; var s22: Sum; var s23: Sum;
  var s30: Sum; var s31: Sum; var s32: Sum; var s33: Sum;
  var a_at0 = a_start(lane, 0u, row0);
  var a_at1 = a_start(lane, 1u, row0);
  var b_at0 = b_start(lane, 0u, column0);
  var b_at1 = b_start(lane, 1u, column0);
  var b_at2 = b_start(lane, 2u, column0);
  var b_at3 = b_start(lane, 3u, column0);
  var a_next0 = a[a_at0]; var a_next1 = a[a_at0 + 1u];
  var a_next2 = a[a_at1]; var a_next3 = a[a_at1 + 1u];
  var b_next0 = b[b_at0]; var b_next1 = b[b_at1];
  var b_next2: vec4<u32>; var b_next3: vec4<u32>;
  if (WIDE) { b_next2 = b[b_at2]; b_next3 = b[b_at3]; }
  for (var k = 0u; k < params.k; k += TILE_K) {
    a_store(lane, 0u, a_next0 * a_scale, a_next1 * a_scale);
    a_store(lane, 1u, a_next2 * a_scale, a_next3 * a_scale);
    b_store(lane, 0u, b_next0, b_scale); b_store(lane, 1u, b_next1, b_scale);
    if (WIDE) { b_store(lane, 2u, b_next2, b_scale); b_store(lane, 3u, b_next3, b_scale); }
    workgroupBarrier();
    a_at0 += TILE_K / 4u; a_at1 += TILE_K / 4u;
    b_at0 += ACROSS; b_at1 += ACROSS; b_at2 += ACROSS; b_at3 += ACROSS;
    a_next0 = a[a_at0]; a_next1 = a[a_at0 + 1u];
    a_next2 = a[a_at1]; a_next3 = a[a_at1 + 1u];
    b_next0 = b[b_at0]; b_next1 = b[b_at1];
    if (WIDE) { b_next2 = b[b_at2]; b_next3 = b[b_at3]; }
    { const step = 0u;
      let left = own_row * ROW + step * MATRIX_K / 8u;
      let h0 = subgroupMatrixLoad<Left, row_major>(&a_high, left + 0u * MATRIX_M * ROW, ROW);
      let h1 = subgroupMatrixLoad<Left, row_major>(&a_high, left + 1u * MATRIX_M * ROW, ROW);
      let h2 = subgroupMatrixLoad<Left, row_major>(&a_high, left + 2u * MATRIX_M * ROW, ROW);
      let h3 = subgroupMatrixLoad<Left, row_major>(&a_high, left + 3u * MATRIX_M * ROW, ROW);
      let l0 = subgroupMatrixLoad<Left, row_major>(&a_low, left + 0u * MATRIX_M * ROW, ROW);
      let l1 = subgroupMatrixLoad<Left, row_major>(&a_low, left + 1u * MATRIX_M * ROW, ROW);
      let l2 = subgroupMatrixLoad<Left, row_major>(&a_low, left + 2u * MATRIX_M * ROW, ROW);
      let l3 = subgroupMatrixLoad<Left, row_major>(&a_low, left + 3u * MATRIX_M * ROW, ROW);
      let right = own_column * ROW + step * MATRIX_K / 8u;
      let r0 = subgroupMatrixLoad<Right, col_major>(&b_tile, right + 0u * MATRIX_N * ROW, ROW);
      s00 = subgroupMatrixMultiplyAccumulate(h0, r0, s00);
      s10 = subgroupMatrixMultiplyAccumulate(h1, r0, s10);
      s20 = subgroupMatrixMultiplyAccumulate(h2, r0, s20);
      s30 = subgroupMatrixMultiplyAccumulate(h3, r0, s30);
      s00 = subgroupMatrixMultiplyAccumulate(l0, r0, s00);
      s10 = subgroupMatrixMultiplyAccumulate(l1, r0, s10);
      s20 = subgroupMatrixMultiplyAccumulate(l2, r0, s20);
      s30 = subgroupMatrixMultiplyAccumulate(l3, r0, s30);
      let r1 = subgroupMatrixLoad<Right, col_major>(&b_tile, right + 1u * MATRIX_N * ROW, ROW);
      s01 = subgroupMatrixMultiplyAccumulate(h0, r1, s01);
      s11 = subgroupMatrixMultiplyAccumulate(h1, r1, s11);
      s21 = subgroupMatrixMultiplyAccumulate(h2, r1, s21);
      s31 = subgroupMatrixMultiplyAccumulate(h3, r1, s31);
      s01 = subgroupMatrixMultiplyAccumulate(l0, r1, s01);
      s11 = subgroupMatrixMultiplyAccumulate(l1, r1, s11);
      s21 = subgroupMatrixMultiplyAccumulate(l2, r1, s21);
      s31 = subgroupMatrixMultiplyAccumulate(l3, r1, s31);
      let r2 = subgroupMatrixLoad<Right, col_major>(&b_tile, right + 2u * MATRIX_N * ROW, ROW);
      s02 = subgroupMatrixMultiplyAccumulate(h0, r2, s02);
      s12 = subgroupMatrixMultiplyAccumulate(h1, r2, s12);
      s22 = subgroupMatrixMultiplyAccumulate(h2, r2, s22);
      s32 = subgroupMatrixMultiplyAccumulate(h3, r2, s32);
      s02 = subgroupMatrixMultiplyAccumulate(l0, r2, s02);
      s12 = subgroupMatrixMultiplyAccumulate(l1, r2, s12);
      s22 = subgroupMatrixMultiplyAccumulate(l2, r2, s22);
      s32 = subgroupMatrixMultiplyAccumulate(l3, r2, s32);
      let r3 = subgroupMatrixLoad<Right, col_major>(&b_tile, right + 3u * MATRIX_N * ROW, ROW);
      s03 = subgroupMatrixMultiplyAccumulate(h0, r3, s03);
      s13 = subgroupMatrixMultiplyAccumulate(h1, r3, s13);
      s23 = subgroupMatrixMultiplyAccumulate(h2, r3, s23);
      s33 = subgroupMatrixMultiplyAccumulate(h3, r3, s33);
      s03 = subgroupMatrixMultiplyAccumulate(l0, r3, s03);
      s13 = subgroupMatrixMultiplyAccumulate(l1, r3, s13);
      s23 = subgroupMatrixMultiplyAccumulate(l2, r3, s23);
      s33 = subgroupMatrixMultiplyAccumulate(l3, r3, s33);
    } // step
    workgroupBarrier();
  }

  let back = vec2(power_of_two(-a_exponent), power_of_two(-b_exponent));
  let within = lane % SUBGROUP;
  let out = own * MATRIX_FOURS;
  let row = row0 + own_row;
  let column = column0 + own_column;
  subgroupMatrixStore<row_major>(&a_high, out, s00, MATRIX_N / 4u);
  leave(own, within, row + 0u * MATRIX_M, column + 0u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s01, MATRIX_N / 4u);
  leave(own, within, row + 0u * MATRIX_M, column + 1u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s02, MATRIX_N / 4u);
  leave(own, within, row + 0u * MATRIX_M, column + 2u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s03, MATRIX_N / 4u);
  leave(own, within, row + 0u * MATRIX_M, column + 3u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s10, MATRIX_N / 4u);
  leave(own, within, row + 1u * MATRIX_M, column + 0u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s11, MATRIX_N / 4u);
  leave(own, within, row + 1u * MATRIX_M, column + 1u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s12, MATRIX_N / 4u);
  leave(own, within, row + 1u * MATRIX_M, column + 2u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s13, MATRIX_N / 4u);
  leave(own, within, row + 1u * MATRIX_M, column + 3u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s20, MATRIX_N / 4u);
  leave(own, within, row + 2u * MATRIX_M, column + 0u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s21, MATRIX_N / 4u);
  leave(own, within, row + 2u * MATRIX_M, column + 1u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s22, MATRIX_N / 4u);
  leave(own, within, row + 2u * MATRIX_M, column + 2u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s23, MATRIX_N / 4u);
  leave(own, within, row + 2u * MATRIX_M, column + 3u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s30, MATRIX_N / 4u);
  leave(own, within, row + 3u * MATRIX_M, column + 0u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s31, MATRIX_N / 4u);
  leave(own, within, row + 3u * MATRIX_M, column + 1u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s32, MATRIX_N / 4u);
  leave(own, within, row + 3u * MATRIX_M, column + 2u * MATRIX_N, back);
  subgroupMatrixStore<row_major>(&a_high, out, s33, MATRIX_N / 4u);
  leave(own, within, row + 3u * MATRIX_M, column + 3u * MATRIX_N, back);
}
