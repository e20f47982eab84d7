// Writes float32 values in a narrower format, as many to a word as fit. One invocation per output word.
override WORKGROUP: u32 = 64;

const NARROW_E4M3: u32 = 3u;
const NARROW_E8M0: u32 = 4u;

struct Params { count: u32, dtype: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> words: array<u32>;

fn narrowed(value: f32) -> u32 {
  switch params.dtype {
    case NARROW_E4M3: { return to_e4m3(value); }
    case NARROW_E8M0: { return bitcast<u32>(value) >> 23u; } // a power of two: its biased exponent
    default: { return narrow_bits(value, params.dtype); }
  }
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let word = (group.y * groups.x + group.x) * WORKGROUP + lane;
  var per_word = 2u;
  if (params.dtype == DTYPE_F32) { per_word = 1u; }
  if (params.dtype >= NARROW_E4M3) { per_word = 4u; }
  let first = word * per_word;
  if (first >= params.count) { return; }
  var packed = 0u;
  for (var i = first; i < min(first + per_word, params.count); i++) {
    packed |= narrowed(values[i]) << ((i - first) * 32u / per_word);
  }
  words[word] = packed;
}
