// Quantizes weights and packs their codes, one invocation per 32-bit word of the output. A stream is a little-endian
// sequence of codes of `stored_bits` each: one row for packed formats, the whole tile for formats of one byte a code.
// compressed-tensors `_quantize`: round(clamp(w / scale + zero_point)), every step rounded to the weight's dtype. With a
// global scale (NVFP4) the scale is scale / global_scale in float32, and so is everything that is divided by it.
override WORKGROUP: u32 = 64;
// What is the same for all of a weight is compiled in: most of what is here is for others.
override DTYPE: u32 = 2;
override KIND: u32 = 0;
override SYMMETRIC: bool = true;

const KIND_INT: u32 = 0u;
const KIND_E4M3: u32 = 1u;
const KIND_E2M1: u32 = 2u;

struct Params {
  rows: u32,
  columns: u32,
  cell_rows: u32,
  cell_columns: u32,
  cells_per_row: u32,
  q_min: f32,
  q_max: f32,
  global_scale: f32,
  stored_bits: u32,
  stored_offset: i32,
  stream_codes: u32,
  words_per_stream: u32,
  first_word: u32,
  end_word: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read> zero_points: array<i32>;
@group(0) @binding(4) var<storage, read_write> codes: array<u32>;

fn weight_at(index: u32) -> f32 {
  if (DTYPE == DTYPE_F32) { return bitcast<f32>(weights[index]); }
  return widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, DTYPE);
}

fn cell_of(index: u32) -> u32 {
  let row = index / params.columns;
  let column = index % params.columns;
  return row / params.cell_rows * params.cells_per_row + column / params.cell_columns;
}

fn scale_of(cell: u32) -> f32 {
  if (params.global_scale == 0.0) { return scales[cell]; }
  return divide(scales[cell], params.global_scale);
}

fn encode(weight: f32, scale: f32, cell: u32) -> u32 {
  let quotient = divide(weight, scale);
  var scaled = quotient;
  if (params.global_scale == 0.0) { scaled = round_to_dtype(quotient, DTYPE); }
  if (!SYMMETRIC) { scaled = round_to_dtype(scaled + f32(zero_points[cell]), DTYPE); }
  if (KIND == KIND_INT) {
    let clamped = clamp(scaled, params.q_min, params.q_max);
    return bitcast<u32>(i32(round(clamped)) + params.stored_offset);
  }
  // The library adds a zero point of 0 to floats too, which takes the sign off a zero; a subnormal, which a GPU may take for 0,
  // keeps its own. Both ends of the range are as far from 0.
  let bits = bitcast<u32>(scaled);
  let magnitude = bits & ~F32_SIGN;
  if (magnitude == 0u) { return 0u; }
  let clamped = bitcast<f32>((bits & F32_SIGN) | min(magnitude, bitcast<u32>(params.q_max)));
  if (KIND == KIND_E4M3) { return to_e4m3(clamped); }
  return to_e2m1(clamped);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let word = params.first_word + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (word >= params.end_word) { return; }
  let stream = word / params.words_per_stream;
  let bits = params.stored_bits;
  let mask = (1u << bits) - 1u;
  let first_bit = word % params.words_per_stream * 32u;
  let first_code = first_bit / bits;
  let end_code = min((first_bit + 31u) / bits + 1u, params.stream_codes);
  var packed = 0u;
  var cell = 0xffffffffu;
  var scale = 1.0;
  for (var i = first_code; i < end_code; i++) {
    let index = stream * params.stream_codes + i;
    let own_cell = cell_of(index);
    if (own_cell != cell) {
      cell = own_cell;
      scale = scale_of(cell);
    }
    let code = encode(weight_at(index), scale, cell) & mask;
    let position = i * bits;
    if (position < first_bit) { packed |= code >> (first_bit - position); }
    else { packed |= code << (position - first_bit); }
  }
  codes[word] = packed;
}
