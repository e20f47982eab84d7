// What Strassen's kernels read a matrix with.

// Four values of `values` from an element on, a multiple of 4.
fn load_four(index: u32) -> vec4<f32> {
  if (DTYPE == DTYPE_F32) { return bitcast<vec4<f32>>(values[index / 4u]); }
  let eight = values[index / 8u];
  let words = select(eight.xy, eight.zw, (index & 4u) != 0u);
  if (DTYPE == DTYPE_BF16) {
    return bitcast<vec4<f32>>(vec4(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4(unpack2x16float(words.x), unpack2x16float(words.y));
}
