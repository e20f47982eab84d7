// Float32 as pairs of float16 halves, for matrix units: what the kernels that make products of them share.

// Binary exponent that brings a largest magnitude into [2^13, 2^14), or nearer to it by at most so much. Not finite, or nothing but
// zeros: none.
fn exponent_for(bits: u32, most: i32) -> i32 {
  if (bits == 0u || bits >= 0x7f800000u) { return 0; }
  return clamp(140 - i32(bits >> 23u), -most, most);
}

fn power_of_two(exponent: i32) -> f32 {
  return bitcast<f32>(u32(exponent + 127) << 23u);
}

// The first 11 bits by a mask: compilers take "rounded to half and back" for the number itself.
fn high_of(values: vec4<f32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(values) & vec4(0xffffe000u));
}

fn pack(values: vec4<f32>) -> vec2<u32> {
  return vec2(pack2x16float(values.xy), pack2x16float(values.zw));
}
