// Roundings that WGSL leaves open, done in integers so that every GPU gives the same bits. Division in WGSL may be off
// by 2.5 units in the last place, and the direction of conversions is not fixed; torch rounds both correctly.

const DTYPE_BF16: u32 = 0u;
const DTYPE_F16: u32 = 1u;
const DTYPE_F32: u32 = 2u;

const F32_SIGN: u32 = 0x80000000u;
const F32_INFINITY: u32 = 0x7f800000u;

fn is_nonfinite(x: f32) -> bool {
  return (bitcast<u32>(x) & F32_INFINITY) == F32_INFINITY;
}

// Shifts right and rounds to nearest, ties to even; `sticky` says that bits below were already lost.
fn shift_right_rounded(value: u32, shift: u32, sticky: bool) -> u32 {
  if (shift == 0u) { return value; }
  if (shift > 31u) { return 0u; }
  let kept = value >> shift;
  let lost = value & ((1u << shift) - 1u);
  let half = 1u << (shift - 1u);
  let up = lost > half || (lost == half && (sticky || (kept & 1u) == 1u));
  return kept + u32(up);
}

// Rounds float32 bits to the 16 bits of the nearest bfloat16.
fn to_bf16_bits(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > F32_INFINITY) { return (bits >> 16u) | 0x40u; }
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

// Rounds float32 bits to the 16 bits of the nearest float16; subnormals are kept.
fn to_f16_bits(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > F32_INFINITY) { return sign | 0x7e00u; }
  if (magnitude >= 0x477ff000u) { return sign | 0x7c00u; } // 65520 and above
  if (magnitude < 0x38800000u) { // below 2^-14: subnormal float16, in steps of 2^-24
    let exponent = magnitude >> 23u;
    if (exponent < 102u) { return sign; }
    let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    return sign | shift_right_rounded(mantissa, 126u - exponent, false);
  }
  return sign | (shift_right_rounded(magnitude, 13u, false) - 0x1c000u);
}

fn from_f16_bits(half: u32) -> f32 {
  let sign = (half & 0x8000u) << 16u;
  let exponent = (half >> 10u) & 0x1fu;
  let mantissa = half & 0x3ffu;
  if (exponent == 31u) { return bitcast<f32>(sign | F32_INFINITY | (mantissa << 13u)); }
  if (exponent == 0u) {
    let magnitude = f32(mantissa) * 5.9604644775390625e-8; // 2^-24, exact
    return bitcast<f32>(bitcast<u32>(magnitude) | sign);
  }
  return bitcast<f32>(sign | ((exponent + 112u) << 23u) | (mantissa << 13u));
}

// Bits of a float32 value in its own dtype: 16 of them, or all 32.
fn narrow_bits(x: f32, dtype: u32) -> u32 {
  let bits = bitcast<u32>(x);
  if (dtype == DTYPE_BF16) { return to_bf16_bits(bits); }
  if (dtype == DTYPE_F16) { return to_f16_bits(bits); }
  return bits;
}

fn widen_bits(bits: u32, dtype: u32) -> f32 {
  if (dtype == DTYPE_BF16) { return bitcast<f32>(bits << 16u); }
  if (dtype == DTYPE_F16) { return from_f16_bits(bits); }
  return bitcast<f32>(bits);
}

// What torch gives after an operation in `dtype`: the float32 result, rounded.
fn round_to_dtype(x: f32, dtype: u32) -> f32 {
  return widen_bits(narrow_bits(x, dtype), dtype);
}

struct Unpacked { mantissa: u32, exponent: i32 }

// A finite, nonzero magnitude as mantissa in [2^23, 2^24) and exponent of its last bit.
fn unpack_magnitude(magnitude: u32) -> Unpacked {
  let exponent = magnitude >> 23u;
  if (exponent != 0u) { return Unpacked((magnitude & 0x7fffffu) | 0x800000u, i32(exponent) - 150); }
  let shift = countLeadingZeros(magnitude) - 8u;
  return Unpacked(magnitude << shift, -149 - i32(shift));
}

// a / b as IEEE 754 wants it: correctly rounded, ties to even, subnormals kept. b must be finite and not zero.
// The quotient of the mantissas is estimated in floating point and corrected by its remainder, which is small enough
// to be exact in wrapping 32-bit arithmetic.
fn divide(a: f32, b: f32) -> f32 {
  let sign = (bitcast<u32>(a) ^ bitcast<u32>(b)) & F32_SIGN;
  let a_magnitude = bitcast<u32>(a) & 0x7fffffffu;
  if (a_magnitude == 0u) { return bitcast<f32>(sign); }
  if (a_magnitude >= F32_INFINITY) { return a; }
  var dividend = unpack_magnitude(a_magnitude);
  let divisor = unpack_magnitude(bitcast<u32>(b) & 0x7fffffffu);
  if (dividend.mantissa < divisor.mantissa) {
    dividend.mantissa <<= 1u;
    dividend.exponent -= 1;
  }
  // quotient in [2^24, 2^25): 24 bits of result and one to round by
  var quotient = u32(f32(dividend.mantissa) / f32(divisor.mantissa) * 16777216.0);
  var remainder = i32((dividend.mantissa << 24u) - quotient * divisor.mantissa);
  while (remainder < 0) {
    quotient -= 1u;
    remainder += i32(divisor.mantissa);
  }
  while (remainder >= i32(divisor.mantissa)) {
    quotient += 1u;
    remainder -= i32(divisor.mantissa);
  }
  let exponent = dividend.exponent - divisor.exponent - 24 + 150 + 1; // biased, of the rounded 24-bit mantissa
  if (exponent >= 255) { return bitcast<f32>(sign | F32_INFINITY); }
  if (exponent < 1) {
    return bitcast<f32>(sign | shift_right_rounded(quotient, u32(2 - exponent), remainder != 0));
  }
  let rounded = shift_right_rounded(quotient, 1u, remainder != 0);
  return bitcast<f32>(sign | ((u32(exponent - 1) << 23u) + rounded));
}

const SMALL: u32 = 0x1f800000u; // 2^-64
const RAISED: f32 = 1.8446744073709552e19; // 2^64
const LOWERED: f32 = 5.421010862427522e-20; // 2^-64

// a · b, where a GPU might take a subnormal a, or a product of less than 2^-64 · b, for 0: a is made larger first.
fn multiply(a: f32, b: f32) -> f32 {
  if ((bitcast<u32>(a) & ~F32_SIGN) >= SMALL) { return a * b; }
  return divide(divide(a, LOWERED) * b, RAISED);
}

// a - b of numbers that are not both on one side of 0, which may be subnormal.
fn span_between(a: f32, b: f32) -> f32 {
  if (max(bitcast<u32>(a) & ~F32_SIGN, bitcast<u32>(b) & ~F32_SIGN) >= SMALL) { return a - b; }
  return divide(divide(a, LOWERED) - divide(b, LOWERED), RAISED);
}

// Code of the nearest e4m3 value (float8_e4m3fn), ties to even; |x| must not exceed 448.
fn to_e4m3(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let sign = (bits >> 24u) & 0x80u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude < 0x3c800000u) { // below 2^-6: subnormal, in steps of 2^-9
    let exponent = magnitude >> 23u;
    if (exponent < 117u) { return sign; }
    let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    return sign | shift_right_rounded(mantissa, 141u - exponent, false);
  }
  return sign | (shift_right_rounded(magnitude, 20u, false) - 0x3c0u);
}

// Code of the nearest e2m1 value, ties to the even code: the index of 0, 0.5, 1, 1.5, 2, 3, 4 or 6, and the sign as bit 3.
fn to_e2m1(x: f32) -> u32 {
  let sign = (bitcast<u32>(x) >> 28u) & 8u;
  let magnitude = abs(x);
  var index = u32(magnitude > 0.25) + u32(magnitude >= 0.75) + u32(magnitude > 1.25) + u32(magnitude >= 1.75);
  index += u32(magnitude > 2.5) + u32(magnitude >= 3.5) + u32(magnitude > 5.0);
  return sign | index;
}

fn from_e2m1(code: u32) -> f32 {
  let index = code & 7u;
  var magnitude = f32(index) * 0.5;
  if (index > 4u) { magnitude = f32(index) - 2.0 + f32(index / 7u); }
  return bitcast<f32>(bitcast<u32>(magnitude) | ((code & 8u) << 28u));
}

fn from_e4m3(code: u32) -> f32 {
  let sign = (code & 0x80u) << 24u;
  let exponent = (code >> 3u) & 0xfu;
  let mantissa = code & 7u;
  if ((code & 0x7fu) == 0x7fu) { return bitcast<f32>(sign | 0x7fc00000u); }
  if (exponent == 0u) { return bitcast<f32>(bitcast<u32>(f32(mantissa) * 0.001953125) | sign); }
  return bitcast<f32>(sign | ((exponent + 120u) << 23u) | (mantissa << 20u));
}
