// C = alpha · op(A) · op(B), or C += that, in float32. Each invocation keeps 8 x 8 results in registers; tiles of A and B
// go through workgroup memory, k-major, and the next tiles are fetched into registers while the current ones are used.

const TILE_M = 64u;
const TILE_N = 64u;
const TILE_K = 16u;

const LANES = TILE_M / 8u * (TILE_N / 8u);
// One vec4 of padding a row keeps the transposing stores off each other's banks.
const A_ROW = TILE_M / 4u + 1u;
const B_ROW = TILE_N / 4u + 1u;
const A_LOADS = TILE_M * TILE_K / 4u / LANES;
const B_LOADS = TILE_N * TILE_K / 4u / LANES;

var<workgroup> a_tile: array<vec4<f32>, TILE_K * A_ROW>;
var<workgroup> b_tile: array<vec4<f32>, TILE_K * B_ROW>;

fn load_a(row: u32, k: u32) -> vec4<f32> {
  if (A_TRANSPOSED) {
    // four neighbouring m of one k
    if (k >= params.k) { return vec4(0.0); }
    return a[(params.a_offset + k * params.a_stride + row) / 4u];
  }
  // four neighbouring k of one m
  let values = a_along(row, k);
  if (k + 4u <= params.k) { return values; }
  return select(vec4(0.0), values, vec4(k, k + 1u, k + 2u, k + 3u) < vec4(params.k));
}

fn load_b(column: u32, k: u32) -> vec4<f32> {
  if (!B_TRANSPOSED) {
    let row = min(k, params.k - 1u);
    return bitcast<vec4<f32>>(b[(params.b_offset + row * params.b_stride + column) / 4u]);
  }
  return b_along(column, k);
}

fn a_at(i: u32, lane: u32, row0: u32, k0: u32) -> vec4<f32> {
  let at = i * LANES + lane;
  if (A_TRANSPOSED) { return load_a(row0 + at % (TILE_M / 4u) * 4u, k0 + at / (TILE_M / 4u)); }
  return load_a(row0 + at / (TILE_K / 4u), k0 + at % (TILE_K / 4u) * 4u);
}

fn b_at(i: u32, lane: u32, column0: u32, k0: u32) -> vec4<f32> {
  let at = i * LANES + lane;
  if (B_TRANSPOSED) { return load_b(column0 + at / (TILE_K / 4u), k0 + at % (TILE_K / 4u) * 4u); }
  return load_b(column0 + at % (TILE_N / 4u) * 4u, k0 + at / (TILE_N / 4u));
}

fn store_a(i: u32, lane: u32, values: vec4<f32>) {
  let at = i * LANES + lane;
  if (A_TRANSPOSED) {
    a_tile[at / (TILE_M / 4u) * A_ROW + at % (TILE_M / 4u)] = values;
    return;
  }
  let row = at / (TILE_K / 4u);
  let k = at % (TILE_K / 4u) * 4u;
  a_tile[k * A_ROW + row / 4u][row % 4u] = values.x;
  a_tile[(k + 1u) * A_ROW + row / 4u][row % 4u] = values.y;
  a_tile[(k + 2u) * A_ROW + row / 4u][row % 4u] = values.z;
  a_tile[(k + 3u) * A_ROW + row / 4u][row % 4u] = values.w;
}

fn store_b(i: u32, lane: u32, values: vec4<f32>) {
  let at = i * LANES + lane;
  if (!B_TRANSPOSED) {
    b_tile[at / (TILE_N / 4u) * B_ROW + at % (TILE_N / 4u)] = values;
    return;
  }
  let column = at / (TILE_K / 4u);
  let k = at % (TILE_K / 4u) * 4u;
  b_tile[k * B_ROW + column / 4u][column % 4u] = values.x;
  b_tile[(k + 1u) * B_ROW + column / 4u][column % 4u] = values.y;
  b_tile[(k + 2u) * B_ROW + column / 4u][column % 4u] = values.z;
  b_tile[(k + 3u) * B_ROW + column / 4u][column % 4u] = values.w;
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
  if (LOWER_ONLY && params.column_origin + column0 > params.row_origin + row0 + TILE_M - 1u) { return; }
  let row_vec = lane / (TILE_N / 8u);
  let column_vec = lane % (TILE_N / 8u);

  var a_next: array<vec4<f32>, 4>;
  var b_next: array<vec4<f32>, 4>;
  for (var i = 0u; i < A_LOADS; i++) { a_next[i] = a_at(i, lane, row0, 0u); }
  for (var i = 0u; i < B_LOADS; i++) { b_next[i] = b_at(i, lane, column0, 0u); }

  // c<row><left or right half>
  var c0l = vec4<f32>(); var c0r = vec4<f32>(); var c1l = vec4<f32>(); var c1r = vec4<f32>();
  var c2l = vec4<f32>(); var c2r = vec4<f32>(); var c3l = vec4<f32>(); var c3r = vec4<f32>();
  var c4l = vec4<f32>(); var c4r = vec4<f32>(); var c5l = vec4<f32>(); var c5r = vec4<f32>();
  var c6l = vec4<f32>(); var c6r = vec4<f32>(); var c7l = vec4<f32>(); var c7r = vec4<f32>();

  for (var k0 = 0u; k0 < params.k; k0 += TILE_K) {
    for (var i = 0u; i < A_LOADS; i++) { store_a(i, lane, a_next[i]); }
    for (var i = 0u; i < B_LOADS; i++) { store_b(i, lane, b_next[i]); }
    workgroupBarrier();
    let k1 = k0 + TILE_K;
    if (k1 < params.k) {
      for (var i = 0u; i < A_LOADS; i++) { a_next[i] = a_at(i, lane, row0, k1); }
      for (var i = 0u; i < B_LOADS; i++) { b_next[i] = b_at(i, lane, column0, k1); }
    }
    for (var k = 0u; k < TILE_K; k++) {
      let a_top = a_tile[k * A_ROW + row_vec];
      let a_low = a_tile[k * A_ROW + TILE_M / 8u + row_vec];
      let b_left = b_tile[k * B_ROW + column_vec];
      let b_right = b_tile[k * B_ROW + TILE_N / 8u + column_vec];
      c0l = fma(vec4(a_top.x), b_left, c0l); c0r = fma(vec4(a_top.x), b_right, c0r);
      c1l = fma(vec4(a_top.y), b_left, c1l); c1r = fma(vec4(a_top.y), b_right, c1r);
      c2l = fma(vec4(a_top.z), b_left, c2l); c2r = fma(vec4(a_top.z), b_right, c2r);
      c3l = fma(vec4(a_top.w), b_left, c3l); c3r = fma(vec4(a_top.w), b_right, c3r);
      c4l = fma(vec4(a_low.x), b_left, c4l); c4r = fma(vec4(a_low.x), b_right, c4r);
      c5l = fma(vec4(a_low.y), b_left, c5l); c5r = fma(vec4(a_low.y), b_right, c5r);
      c6l = fma(vec4(a_low.z), b_left, c6l); c6r = fma(vec4(a_low.z), b_right, c6r);
      c7l = fma(vec4(a_low.w), b_left, c7l); c7r = fma(vec4(a_low.w), b_right, c7r);
    }
    workgroupBarrier();
  }

  let top = row0 + row_vec * 4u;
  let low = top + TILE_M / 2u;
  let left = column0 + column_vec * 4u;
  let right = left + TILE_N / 2u;
  put(top, left, c0l); put(top, right, c0r);
  put(top + 1u, left, c1l); put(top + 1u, right, c1r);
  put(top + 2u, left, c2l); put(top + 2u, right, c2r);
  put(top + 3u, left, c3l); put(top + 3u, right, c3r);
  put(low, left, c4l); put(low, right, c4r);
  put(low + 1u, left, c5l); put(low + 1u, right, c5r);
  put(low + 2u, left, c6l); put(low + 2u, right, c6r);
  put(low + 3u, left, c7l); put(low + 3u, right, c7r);
}
