// What Strassen's kernels scale by: powers of two, so that scaling loses nothing.

// The exponents of magnitudes, given as float32 bits; of 1 for zero and for what is not finite, so that powers have inverses.
fn exponents_of(bits: vec4<u32>) -> vec4<u32> {
  let exponents = bits >> vec4(23u);
  return select(min(exponents, vec4(253u)), vec4(127u), (exponents == vec4(0u)) | (exponents == vec4(255u)));
}

// The powers of two at or below magnitudes.
fn powers_of(bits: vec4<u32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(exponents_of(bits) << vec4(23u));
}

// 1 / powers_of(bits), exactly.
fn inverses_of(bits: vec4<u32>) -> vec4<f32> {
  return bitcast<vec4<f32>>((vec4(254u) - exponents_of(bits)) << vec4(23u));
}
