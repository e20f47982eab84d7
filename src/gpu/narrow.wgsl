// Writes float32 values in their own dtype, two 16-bit values to a word. One invocation per output word.
override WORKGROUP: u32 = 64;

struct Params { count: u32, dtype: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> words: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let word = (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (params.dtype == DTYPE_F32) {
    if (word < params.count) { words[word] = bitcast<u32>(values[word]); }
    return;
  }
  let first = word * 2u;
  if (first >= params.count) { return; }
  var packed = narrow_bits(values[first], params.dtype);
  if (first + 1u < params.count) { packed |= narrow_bits(values[first + 1u], params.dtype) << 16u; }
  words[word] = packed;
}
