// The operands and the result of matmul.wgsl and matmul-direct.wgsl.
//
// A is float32, (m, k) row-major, or (k, m) with A_TRANSPOSED. B is (k, n), or (n, k) with B_TRANSPOSED (how Linear
// weights lie), as float32 or, with B_TRANSPOSED, as packed bfloat16 or float16. Strides and offsets count elements and
// are multiples of what one load of 16 bytes takes. C is written in vec4: its stride is a multiple of 4 and covers n.
override A_TRANSPOSED: bool = false;
override B_TRANSPOSED: bool = true;
override B_DTYPE: u32 = 2;
override ACCUMULATE: bool = false;
// Tiles that lie wholly above the diagonal of the whole matrix are left alone.
override LOWER_ONLY: bool = false;

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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;

// Rows past m read the last one: never stored.
fn a_along(row: u32, k: u32) -> vec4<f32> {
  return a[(params.a_offset + min(row, params.m - 1u) * params.a_stride + k) / 4u];
}

// Columns past n read the last one, likewise.
fn b_along(column: u32, k: u32) -> vec4<f32> {
  let index = params.b_offset + min(column, params.n - 1u) * params.b_stride + k;
  if (B_DTYPE == DTYPE_F32) { return bitcast<vec4<f32>>(b[index / 4u]); }
  let eight = b[index / 8u];
  let words = select(eight.xy, eight.zw, (index & 4u) != 0u);
  if (B_DTYPE == DTYPE_BF16) {
    return bitcast<vec4<f32>>(vec4(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn put(row: u32, column: u32, values: vec4<f32>) {
  if (row >= params.m || column >= params.n) { return; }
  let index = (params.c_offset + row * params.c_stride + column) / 4u;
  let scaled = params.alpha * values;
  if (ACCUMULATE) { c[index] += scaled; } else { c[index] = scaled; }
}
