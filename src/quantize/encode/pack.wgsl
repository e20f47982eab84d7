// Packs integer codes into little-endian streams of `stored_bits`, one invocation per 32-bit word. Strides let the same
// kernel pack rows (weights) and columns (zero points, which compressed-tensors packs along the output dimension).
override WORKGROUP: u32 = 64;

struct Params {
  stored_bits: u32,
  stored_offset: i32,
  stream_codes: u32,
  words_per_stream: u32,
  code_stride: u32,
  stream_stride: u32,
  word_stride: u32,
  word_stream_stride: u32,
  first_word: u32,
  end_word: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<i32>;
@group(0) @binding(2) var<storage, read_write> words: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let word = params.first_word + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (word >= params.end_word) { return; }
  let stream = word / params.words_per_stream;
  let place = word % params.words_per_stream;
  let bits = params.stored_bits;
  let mask = (1u << bits) - 1u;
  let first_bit = place * 32u;
  let end_code = min((first_bit + 31u) / bits + 1u, params.stream_codes);
  var packed = 0u;
  for (var i = first_bit / bits; i < end_code; i++) {
    let code = bitcast<u32>(codes[stream * params.stream_stride + i * params.code_stride] + params.stored_offset) & mask;
    let position = i * bits;
    if (position < first_bit) { packed |= code >> (first_bit - position); }
    else { packed |= code << (position - first_bit); }
  }
  words[place * params.word_stride + stream * params.word_stream_stride] = packed;
}
