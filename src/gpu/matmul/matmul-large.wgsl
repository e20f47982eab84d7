// C = alpha · op(A) · op(B), or C += that, in float32: the same product as matmul.wgsl, sum for sum, for large shapes on
// GPUs with many registers. Each invocation keeps 8 x 16 results; tiles of 128 x 128 go through workgroup memory, k-major,
// and the next tiles are fetched into registers while the current ones are used.
//
// Measured on an H200 (4096 x 4096 x 8192, TFLOP/s): 45.0 as it stands; 40.3 with the 16 steps of k in a function; 38.3 with
// them in a loop; 38.0 with the last tile's zeros chosen in the main loop, because a fetched value is then needed at once.
// Hence the spelled-out steps, the separate loop for a k that is not a multiple of 16, and values of 16 bits that are widened when they
// are stored.
override A_TRANSPOSED: bool = false;
override B_TRANSPOSED: bool = true;
override B_DTYPE: u32 = 2;
override ACCUMULATE: bool = false;
// Tiles that lie wholly above the diagonal of the whole matrix are left alone.
override LOWER_ONLY: bool = false;
// One vec4 a row keeps the transposing stores off each other's banks, where workgroup memory has room for it.
override PADDING: u32 = 1;
// Several products of one shape, whose tiles follow one another: a batch fills a GPU that one of its products would not.
override BATCHED: bool = false;

const TILE = 128u;
const TILE_K = 16u;
const LANES = 128u;
override ROW: u32 = TILE / 4u + PADDING;

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
  // Place of C in the whole matrix, for LOWER_ONLY.
  row_origin: u32,
  column_origin: u32,
  // For BATCHED: tiles of each product, and elements from the operands and the result of one to those of the next.
  batch_tiles: u32,
  a_batch: u32,
  b_batch: u32,
  c_batch: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;

// Which product of a batch is computed. `right_words` reads its B: the wrapper joins the code that has them all in one buffer, or that
// of two buffers.
var<private> product: u32;

var<workgroup> a_tile: array<vec4<f32>, TILE_K * ROW>;
var<workgroup> b_tile: array<vec4<f32>, TILE_K * ROW>;

// Place in a tile of the i-th vec4 that an invocation fetches: x along the tile's rows or columns, y along k.
fn place_of(i: u32, lane: u32, transposed: bool) -> vec2<u32> {
  let at = i * LANES + lane;
  if (transposed) { return vec2(at % (TILE / 4u) * 4u, at / (TILE / 4u)); }
  return vec2(at / (TILE_K / 4u), at % (TILE_K / 4u) * 4u);
}

// Element of A that a place stands for in the first tile along k. Rows past m read the last one: never stored.
fn a_start(origin: u32, place: vec2<u32>, row0: u32) -> u32 {
  if (A_TRANSPOSED) { return origin + place.y * params.a_stride + row0 + place.x; }
  return origin + min(row0 + place.x, params.m - 1u) * params.a_stride + place.y;
}

fn b_start(origin: u32, place: vec2<u32>, column0: u32) -> u32 {
  if (!B_TRANSPOSED) { return origin + place.y * params.b_stride + column0 + place.x; }
  return origin + min(column0 + place.x, params.n - 1u) * params.b_stride + place.y;
}

fn a_load(index: u32) -> vec4<f32> {
  return a[index / 4u];
}

// Four values, or the eight of 16 bits that they are among.
fn b_load(index: u32) -> vec4<u32> {
  if (!B_TRANSPOSED || B_DTYPE == DTYPE_F32) { return right_words(index / 4u); }
  return right_words(index / 8u);
}

// Four values at a place; rows begin at multiples of eight.
fn b_values(place: vec2<u32>, loaded: vec4<u32>) -> vec4<f32> {
  if (!B_TRANSPOSED || B_DTYPE == DTYPE_F32) { return bitcast<vec4<f32>>(loaded); }
  let words = select(loaded.xy, loaded.zw, (place.y & 4u) != 0u);
  if (B_DTYPE == DTYPE_BF16) {
    return bitcast<vec4<f32>>(vec4(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Zero where k lies past the end.
fn masked(values: vec4<f32>, along_k: bool, k: u32) -> vec4<f32> {
  if (along_k) { return select(vec4(0.0), values, vec4(k, k + 1u, k + 2u, k + 3u) < vec4(params.k)); }
  return select(vec4(0.0), values, k < params.k);
}

fn a_store(place: vec2<u32>, values: vec4<f32>) {
  let at = place.y * ROW + place.x / 4u;
  if (A_TRANSPOSED) {
    a_tile[at] = values;
    return;
  }
  a_tile[at][place.x % 4u] = values.x;
  a_tile[at + ROW][place.x % 4u] = values.y;
  a_tile[at + 2u * ROW][place.x % 4u] = values.z;
  a_tile[at + 3u * ROW][place.x % 4u] = values.w;
}

fn b_store(place: vec2<u32>, values: vec4<f32>) {
  let at = place.y * ROW + place.x / 4u;
  if (!B_TRANSPOSED) {
    b_tile[at] = values;
    return;
  }
  b_tile[at][place.x % 4u] = values.x;
  b_tile[at + ROW][place.x % 4u] = values.y;
  b_tile[at + 2u * ROW][place.x % 4u] = values.z;
  b_tile[at + 3u * ROW][place.x % 4u] = values.w;
}

fn put(origin: u32, row: u32, column: u32, values: vec4<f32>) {
  if (row >= params.m || column >= params.n) { return; }
  let index = (origin + row * params.c_stride + column) / 4u;
  let scaled = params.alpha * values;
  if (ACCUMULATE) { c[index] += scaled; } else { c[index] = scaled; }
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let place = params.first_tile + group.y * groups.x + group.x;
  if (place >= params.end_tile) { return; }
  var batch = 0u;
  if (BATCHED) { batch = place / params.batch_tiles; }
  product = batch;
  let tile = place - batch * params.batch_tiles;
  let a_origin = params.a_offset + batch * params.a_batch;
  let b_origin = params.b_offset + batch * params.b_batch;
  let c_origin = params.c_offset + batch * params.c_batch;
  let row0 = tile / params.tiles_n * TILE;
  let column0 = tile % params.tiles_n * TILE;
  if (LOWER_ONLY && params.column_origin + column0 > params.row_origin + row0 + TILE - 1u) { return; }
  let y = lane / 8u;
  let x = lane % 8u;

  let a_place0 = place_of(0u, lane, A_TRANSPOSED);
  let a_place1 = place_of(1u, lane, A_TRANSPOSED);
  let a_place2 = place_of(2u, lane, A_TRANSPOSED);
  let a_place3 = place_of(3u, lane, A_TRANSPOSED);
  let b_place0 = place_of(0u, lane, !B_TRANSPOSED);
  let b_place1 = place_of(1u, lane, !B_TRANSPOSED);
  let b_place2 = place_of(2u, lane, !B_TRANSPOSED);
  let b_place3 = place_of(3u, lane, !B_TRANSPOSED);
  var a_at0 = a_start(a_origin, a_place0, row0);
  var a_at1 = a_start(a_origin, a_place1, row0);
  var a_at2 = a_start(a_origin, a_place2, row0);
  var a_at3 = a_start(a_origin, a_place3, row0);
  var b_at0 = b_start(b_origin, b_place0, column0);
  var b_at1 = b_start(b_origin, b_place1, column0);
  var b_at2 = b_start(b_origin, b_place2, column0);
  var b_at3 = b_start(b_origin, b_place3, column0);
  let a_step = select(TILE_K, TILE_K * params.a_stride, A_TRANSPOSED);
  let b_step = select(TILE_K * params.b_stride, TILE_K, B_TRANSPOSED);
  // The first tile is fetched even if it is not whole: what lies past the end of k is not stored.
  var a_next0 = a_load(a_at0);
  var a_next1 = a_load(a_at1);
  var a_next2 = a_load(a_at2);
  var a_next3 = a_load(a_at3);
  var b_next0 = b_load(b_at0);
  var b_next1 = b_load(b_at1);
  var b_next2 = b_load(b_at2);
  var b_next3 = b_load(b_at3);

  // c<row>_<quarter>
  var c0_0 = vec4<f32>(); var c0_1 = vec4<f32>(); var c0_2 = vec4<f32>(); var c0_3 = vec4<f32>();
  var c1_0 = vec4<f32>(); var c1_1 = vec4<f32>(); var c1_2 = vec4<f32>(); var c1_3 = vec4<f32>();
  var c2_0 = vec4<f32>(); var c2_1 = vec4<f32>(); var c2_2 = vec4<f32>(); var c2_3 = vec4<f32>();
  var c3_0 = vec4<f32>(); var c3_1 = vec4<f32>(); var c3_2 = vec4<f32>(); var c3_3 = vec4<f32>();
  var c4_0 = vec4<f32>(); var c4_1 = vec4<f32>(); var c4_2 = vec4<f32>(); var c4_3 = vec4<f32>();
  var c5_0 = vec4<f32>(); var c5_1 = vec4<f32>(); var c5_2 = vec4<f32>(); var c5_3 = vec4<f32>();
  var c6_0 = vec4<f32>(); var c6_1 = vec4<f32>(); var c6_2 = vec4<f32>(); var c6_3 = vec4<f32>();
  var c7_0 = vec4<f32>(); var c7_1 = vec4<f32>(); var c7_2 = vec4<f32>(); var c7_3 = vec4<f32>();

  let whole = params.k / TILE_K * TILE_K;
  for (var k0 = 0u; k0 < whole; k0 += TILE_K) {
    a_store(a_place0, a_next0);
    a_store(a_place1, a_next1);
    a_store(a_place2, a_next2);
    a_store(a_place3, a_next3);
    b_store(b_place0, b_values(b_place0, b_next0));
    b_store(b_place1, b_values(b_place1, b_next1));
    b_store(b_place2, b_values(b_place2, b_next2));
    b_store(b_place3, b_values(b_place3, b_next3));
    workgroupBarrier();
    if (k0 + TILE_K < params.k) {
      a_at0 += a_step; a_next0 = a_load(a_at0);
      a_at1 += a_step; a_next1 = a_load(a_at1);
      a_at2 += a_step; a_next2 = a_load(a_at2);
      a_at3 += a_step; a_next3 = a_load(a_at3);
      b_at0 += b_step; b_next0 = b_load(b_at0);
      b_at1 += b_step; b_next1 = b_load(b_at1);
      b_at2 += b_step; b_next2 = b_load(b_at2);
      b_at3 += b_step; b_next3 = b_load(b_at3);
    }
    {
      let at = 0u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 1u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 2u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 3u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 4u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 5u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 6u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 7u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 8u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 9u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 10u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 11u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 12u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 13u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 14u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    {
      let at = 15u * ROW;
      let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
      let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
      c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
      c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
      c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
      c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
      c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
      c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
      c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
      c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
    workgroupBarrier();
  }

  if (whole < params.k) {
    a_store(a_place0, masked(a_next0, !A_TRANSPOSED, whole + a_place0.y));
    a_store(a_place1, masked(a_next1, !A_TRANSPOSED, whole + a_place1.y));
    a_store(a_place2, masked(a_next2, !A_TRANSPOSED, whole + a_place2.y));
    a_store(a_place3, masked(a_next3, !A_TRANSPOSED, whole + a_place3.y));
    b_store(b_place0, masked(b_values(b_place0, b_next0), B_TRANSPOSED, whole + b_place0.y));
    b_store(b_place1, masked(b_values(b_place1, b_next1), B_TRANSPOSED, whole + b_place1.y));
    b_store(b_place2, masked(b_values(b_place2, b_next2), B_TRANSPOSED, whole + b_place2.y));
    b_store(b_place3, masked(b_values(b_place3, b_next3), B_TRANSPOSED, whole + b_place3.y));
    workgroupBarrier();
    for (var k = 0u; k < params.k - whole; k++) {
        let at = k * ROW;
        let top = a_tile[at + y]; let low = a_tile[at + 16u + y];
        let b0 = b_tile[at + x]; let b1 = b_tile[at + 8u + x]; let b2 = b_tile[at + 16u + x]; let b3 = b_tile[at + 24u + x];
        c0_0 = fma(vec4(top.x), b0, c0_0); c0_1 = fma(vec4(top.x), b1, c0_1); c0_2 = fma(vec4(top.x), b2, c0_2); c0_3 = fma(vec4(top.x), b3, c0_3);
        c1_0 = fma(vec4(top.y), b0, c1_0); c1_1 = fma(vec4(top.y), b1, c1_1); c1_2 = fma(vec4(top.y), b2, c1_2); c1_3 = fma(vec4(top.y), b3, c1_3);
        c2_0 = fma(vec4(top.z), b0, c2_0); c2_1 = fma(vec4(top.z), b1, c2_1); c2_2 = fma(vec4(top.z), b2, c2_2); c2_3 = fma(vec4(top.z), b3, c2_3);
        c3_0 = fma(vec4(top.w), b0, c3_0); c3_1 = fma(vec4(top.w), b1, c3_1); c3_2 = fma(vec4(top.w), b2, c3_2); c3_3 = fma(vec4(top.w), b3, c3_3);
        c4_0 = fma(vec4(low.x), b0, c4_0); c4_1 = fma(vec4(low.x), b1, c4_1); c4_2 = fma(vec4(low.x), b2, c4_2); c4_3 = fma(vec4(low.x), b3, c4_3);
        c5_0 = fma(vec4(low.y), b0, c5_0); c5_1 = fma(vec4(low.y), b1, c5_1); c5_2 = fma(vec4(low.y), b2, c5_2); c5_3 = fma(vec4(low.y), b3, c5_3);
        c6_0 = fma(vec4(low.z), b0, c6_0); c6_1 = fma(vec4(low.z), b1, c6_1); c6_2 = fma(vec4(low.z), b2, c6_2); c6_3 = fma(vec4(low.z), b3, c6_3);
        c7_0 = fma(vec4(low.w), b0, c7_0); c7_1 = fma(vec4(low.w), b1, c7_1); c7_2 = fma(vec4(low.w), b2, c7_2); c7_3 = fma(vec4(low.w), b3, c7_3);
    }
  }

  put(c_origin, row0 + y * 4u + 0u, column0 + 0u + x * 4u, c0_0);
  put(c_origin, row0 + y * 4u + 0u, column0 + 32u + x * 4u, c0_1);
  put(c_origin, row0 + y * 4u + 0u, column0 + 64u + x * 4u, c0_2);
  put(c_origin, row0 + y * 4u + 0u, column0 + 96u + x * 4u, c0_3);
  put(c_origin, row0 + y * 4u + 1u, column0 + 0u + x * 4u, c1_0);
  put(c_origin, row0 + y * 4u + 1u, column0 + 32u + x * 4u, c1_1);
  put(c_origin, row0 + y * 4u + 1u, column0 + 64u + x * 4u, c1_2);
  put(c_origin, row0 + y * 4u + 1u, column0 + 96u + x * 4u, c1_3);
  put(c_origin, row0 + y * 4u + 2u, column0 + 0u + x * 4u, c2_0);
  put(c_origin, row0 + y * 4u + 2u, column0 + 32u + x * 4u, c2_1);
  put(c_origin, row0 + y * 4u + 2u, column0 + 64u + x * 4u, c2_2);
  put(c_origin, row0 + y * 4u + 2u, column0 + 96u + x * 4u, c2_3);
  put(c_origin, row0 + y * 4u + 3u, column0 + 0u + x * 4u, c3_0);
  put(c_origin, row0 + y * 4u + 3u, column0 + 32u + x * 4u, c3_1);
  put(c_origin, row0 + y * 4u + 3u, column0 + 64u + x * 4u, c3_2);
  put(c_origin, row0 + y * 4u + 3u, column0 + 96u + x * 4u, c3_3);
  put(c_origin, row0 + 64u + y * 4u + 0u, column0 + 0u + x * 4u, c4_0);
  put(c_origin, row0 + 64u + y * 4u + 0u, column0 + 32u + x * 4u, c4_1);
  put(c_origin, row0 + 64u + y * 4u + 0u, column0 + 64u + x * 4u, c4_2);
  put(c_origin, row0 + 64u + y * 4u + 0u, column0 + 96u + x * 4u, c4_3);
  put(c_origin, row0 + 64u + y * 4u + 1u, column0 + 0u + x * 4u, c5_0);
  put(c_origin, row0 + 64u + y * 4u + 1u, column0 + 32u + x * 4u, c5_1);
  put(c_origin, row0 + 64u + y * 4u + 1u, column0 + 64u + x * 4u, c5_2);
  put(c_origin, row0 + 64u + y * 4u + 1u, column0 + 96u + x * 4u, c5_3);
  put(c_origin, row0 + 64u + y * 4u + 2u, column0 + 0u + x * 4u, c6_0);
  put(c_origin, row0 + 64u + y * 4u + 2u, column0 + 32u + x * 4u, c6_1);
  put(c_origin, row0 + 64u + y * 4u + 2u, column0 + 64u + x * 4u, c6_2);
  put(c_origin, row0 + 64u + y * 4u + 2u, column0 + 96u + x * 4u, c6_3);
  put(c_origin, row0 + 64u + y * 4u + 3u, column0 + 0u + x * 4u, c7_0);
  put(c_origin, row0 + 64u + y * 4u + 3u, column0 + 32u + x * 4u, c7_1);
  put(c_origin, row0 + 64u + y * 4u + 3u, column0 + 64u + x * 4u, c7_2);
  put(c_origin, row0 + 64u + y * 4u + 3u, column0 + 96u + x * 4u, c7_3);
}
