// The way back from pack.wgsl, of streams whose words follow each other: one invocation per code.
override WORKGROUP: u32 = 64;

struct Params {
  stored_bits: u32,
  stored_offset: i32,
  // 1 for codes in two's complement.
  signed: u32,
  stream_codes: u32,
  words_per_stream: u32,
  first: u32,
  end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read_write> codes: array<i32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (index >= params.end) { return; }
  let bits = params.stored_bits;
  let position = (index % params.stream_codes) * bits;
  let word = index / params.stream_codes * params.words_per_stream + position / 32u;
  let shift = position % 32u;
  var code = words[word] >> shift;
  if (shift + bits > 32u) { code |= words[word + 1u] << (32u - shift); }
  // By shifts: not every language of a driver has extractBits.
  let above = 32u - bits;
  if (params.signed == 1u) { codes[index] = bitcast<i32>(code << above) >> above; }
  else { codes[index] = bitcast<i32>((code << above) >> above) - params.stored_offset; }
}
