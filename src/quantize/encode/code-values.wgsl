// The numbers that codes stand for: integers, or floats of a few bits, whose shape comes in as constants. The code of a
// float holds sign, exponent and mantissa, from the highest bit to the lowest; the lowest exponent's numbers are subnormal
// (OCP Microscaling Formats 1.0, section 5.3).
override IS_FLOAT: bool = false;
override CODE_BITS: u32 = 8u;
override MANTISSA_BITS: u32 = 0u;
// Exponent of the smallest normal number.
override LEAST_EXPONENT: i32 = 0;

fn power_of_two(exponent: i32) -> f32 { return bitcast<f32>(u32(exponent + 127) << 23u); }

// The number nearest to x between q_min and q_max, ties to even. Floats of one exponent are evenly spaced, so that they are
// rounded as integers are.
fn nearest_number(x: f32, q_min: f32, q_max: f32) -> f32 {
  let clamped = clamp(x, q_min, q_max);
  if (!IS_FLOAT) { return round(clamped); }
  let exponent = max(i32((bitcast<u32>(clamped) >> 23u) & 0xffu) - 127, LEAST_EXPONENT);
  let spacing = exponent - i32(MANTISSA_BITS);
  return round(clamped * power_of_two(-spacing)) * power_of_two(spacing);
}

// The code of a number that has one. Zero has no sign, as in what compressed-tensors writes.
fn code_of(number: f32) -> i32 {
  if (!IS_FLOAT) { return i32(number); }
  let magnitude = abs(number);
  let sign = select(0u, 1u << (CODE_BITS - 1u), number < 0.0);
  if (magnitude < power_of_two(LEAST_EXPONENT)) {
    return i32(sign | u32(magnitude * power_of_two(i32(MANTISSA_BITS) - LEAST_EXPONENT)));
  }
  let bias = u32(LEAST_EXPONENT + 126) << MANTISSA_BITS;
  return i32(sign | ((bitcast<u32>(magnitude) >> (23u - MANTISSA_BITS)) - bias));
}

// The number of a code.
fn number_of(code: i32) -> f32 {
  if (!IS_FLOAT) { return f32(code); }
  let sign = u32(code) >> (CODE_BITS - 1u);
  let bits = u32(code) & ((1u << (CODE_BITS - 1u)) - 1u);
  var magnitude = f32(bits) * power_of_two(LEAST_EXPONENT - i32(MANTISSA_BITS));
  if (bits >> MANTISSA_BITS != 0u) {
    magnitude = bitcast<f32>((bits + (u32(LEAST_EXPONENT + 126) << MANTISSA_BITS)) << (23u - MANTISSA_BITS));
  }
  return select(magnitude, -magnitude, sign == 1u);
}
