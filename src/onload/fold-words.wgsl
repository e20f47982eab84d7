// Weights times a factor for each column over a divisor for each row, in place, as the host folds them: the exact quotient rounded to
// float32, and that to the weights' dtype. The host divides in float64, which never comes to lie between two float32: quotients of
// 48 and 24 bits are farther from there than it rounds. In integers, so that subnormals count.
override WORKGROUP: u32 = 64;

struct Params { first_word: u32, end_word: u32, columns: u32, first_row: u32, dtype: u32 }

@group(0) @binding(0) var<uniform> params: Params;
// A factor for each column, then a divisor for each row; finite and above 0.
@group(0) @binding(1) var<storage, read> factors: array<u32>;
@group(0) @binding(2) var<storage, read_write> words: array<u32>;

fn folded(x: u32, factor: u32, divisor: u32) -> u32 {
  let sign = x & F32_SIGN;
  let magnitude = x ^ sign;
  if (magnitude == 0u) { return 0u; } // as float64 adds an offset of 0 to a zero
  if (magnitude >= F32_INFINITY) { return x; }
  let a = unpack_magnitude(magnitude);
  let b = unpack_magnitude(factor);
  let d = unpack_magnitude(divisor);
  // a · b in 48 bits, of halves of 12
  let middle = (a.mantissa >> 12u) * (b.mantissa & 0xfffu) + (a.mantissa & 0xfffu) * (b.mantissa >> 12u);
  let lower = (a.mantissa & 0xfffu) * (b.mantissa & 0xfffu) + ((middle & 0xfffu) << 12u);
  let upper = (a.mantissa >> 12u) * (b.mantissa >> 12u) + (middle >> 12u) + (lower >> 24u);
  // 8 · a · b / d, at least 2^25 and below 2^28, a byte after the other
  var quotient = upper / d.mantissa;
  var rest = upper % d.mantissa;
  for (var shift = 24u; shift > 0u; shift -= 8u) {
    let next = (rest << 8u) | ((lower >> (shift - 8u)) & 0xffu);
    quotient = (quotient << 8u) | (next / d.mantissa);
    rest = next % d.mantissa;
  }
  quotient = (quotient << 3u) | ((rest << 3u) / d.mantissa);
  rest = (rest << 3u) % d.mantissa;
  let shift = 8u - countLeadingZeros(quotient);
  let exponent = a.exponent + b.exponent - d.exponent - 3 + i32(shift) + 150; // biased, of the rounded 24-bit mantissa
  if (exponent >= 255) { return sign | F32_INFINITY; }
  if (exponent < 1) { return sign | shift_right_rounded(quotient, shift + u32(1 - exponent), rest != 0u); }
  return sign | ((u32(exponent - 1) << 23u) + shift_right_rounded(quotient, shift, rest != 0u));
}

fn folded_at(element: u32, bits: u32) -> u32 {
  let factor = factors[element % params.columns];
  let divisor = factors[params.columns + params.first_row + element / params.columns];
  let x = bitcast<u32>(widen_bits(bits, params.dtype));
  return narrow_bits(bitcast<f32>(folded(x, factor, divisor)), params.dtype);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let word = params.first_word + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (word >= params.end_word) { return; }
  let bits = words[word];
  if (params.dtype == DTYPE_F32) {
    words[word] = folded_at(word, bits);
    return;
  }
  words[word] = folded_at(2u * word, bits & 0xffffu) | (folded_at(2u * word + 1u, bits >> 16u) << 16u);
}
