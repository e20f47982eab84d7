// Rows of a table of bfloat16 values, two to a word, to float32, times a factor, in the order of `places`. One invocation per word.
override WORKGROUP: u32 = 64;

struct Params {
  // Of a row.
  words: u32,
  first: u32,
  end: u32,
  factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
// Row of the table for each row of the result.
@group(0) @binding(2) var<storage, read> places: array<u32>;
@group(0) @binding(3) var<storage, read_write> values: array<vec2<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  let word = table[places[item / params.words] * params.words + item % params.words];
  let pair = bitcast<vec2<f32>>(vec2(word << 16u, word & 0xffff0000u));
  // The bits pass untouched where nothing is to be done: a product may flush what is close to zero.
  if (params.factor == 1.0) { values[item] = pair; } else { values[item] = pair * params.factor; }
}
