// Scale and zero point of one cell from its range, in the arithmetic of the weight's dtype (compressed-tensors
// `calculate_qparams`). Symmetric: scale = max(|min|, |max|) / ((q_max - q_min) / 2). Asymmetric: scale = (max - min) /
// (q_max - q_min), zero point = clamp(q_min - min / scale), where min / 0 is infinite and 0 / 0 gives 0. A zero scale becomes
// the eps of its dtype. Subnormals count.
const SCALE_DTYPE: u32 = 0u;
const SCALE_E4M3: u32 = 1u;
const SCALE_E8M0: u32 = 2u;

const LEAST_E8M0: u32 = 0x00400000u; // 2^-127
const LEAST_F16: u32 = 0x38400000u; // 3/4 of 2^-14, float16's least normal number
const LEAST_NORMAL_F16: u32 = 0x38800000u;
const LEAST_NORMAL: u32 = 0x00800000u; // 2^-126, of bfloat16 and float32

struct QparamsRule {
  dtype: u32,
  symmetric: u32,
  scale_kind: u32,
  q_min: f32,
  q_max: f32,
  epsilon: f32,
  global_scale: f32,
}

struct CellQparams { scale: f32, zero_point: f32 }

// The power of two that 7/4 of the largest magnitude reaches, less the element's own largest exponent. The library adds a
// quarter to mantissas and drops them, so that a group counts as zero below 3/4 of the least normal number, from which on it
// reaches that; float16 cannot hold 2^-127 and gets 1.
fn mx_scale(amax: f32, rule: QparamsRule) -> f32 {
  var bits = bitcast<u32>(amax);
  if (rule.dtype == DTYPE_F16) {
    if (bits < LEAST_F16) { return 1.0; }
    bits = max(bits, LEAST_NORMAL_F16);
  }
  if (bits < LEAST_NORMAL) { return bitcast<f32>(LEAST_E8M0); }
  let up = u32((bits & 0x7fffffu) >= 0x600000u);
  let element_exponent = select(8u, 2u, rule.q_max == 6.0);
  let exponent = (bits >> 23u) + up;
  if (exponent <= element_exponent) { return bitcast<f32>(LEAST_E8M0); }
  return bitcast<f32>((exponent - element_exponent) << 23u);
}

fn larger_magnitude(a: f32, b: f32) -> f32 {
  return bitcast<f32>(max(bitcast<u32>(a) & ~F32_SIGN, bitcast<u32>(b) & ~F32_SIGN));
}

fn symmetric_scale(amax: f32, rule: QparamsRule) -> f32 {
  if (rule.scale_kind == SCALE_E8M0) { return mx_scale(amax, rule); }
  let scale = round_to_dtype(divide(amax, (rule.q_max - rule.q_min) / 2.0), rule.dtype);
  if (rule.scale_kind == SCALE_DTYPE) { return scale; }
  return from_e4m3(to_e4m3(min(multiply(scale, rule.global_scale), 448.0)));
}

fn cell_qparams(smallest: f32, largest: f32, rule: QparamsRule) -> CellQparams {
  var result = CellQparams(0.0, 0.0);
  if (rule.symmetric == 1u) {
    result.scale = symmetric_scale(larger_magnitude(smallest, largest), rule);
  } else {
    let span = round_to_dtype(span_between(largest, smallest), rule.dtype);
    result.scale = round_to_dtype(divide(span, rule.q_max - rule.q_min), rule.dtype);
    if (bitcast<u32>(result.scale) == 0u) {
      result.zero_point = select(0.0, rule.q_max, bitcast<u32>(smallest) > F32_SIGN);
    } else {
      let shift = round_to_dtype(divide(smallest, result.scale), rule.dtype);
      let shifted = round_to_dtype(rule.q_min - shift, rule.dtype);
      result.zero_point = round(clamp(shifted, rule.q_min, rule.q_max));
    }
  }
  // By its bits: a GPU may take 2^-127 for zero.
  if (bitcast<u32>(result.scale) == 0u) { result.scale = rule.epsilon; }
  return result;
}
