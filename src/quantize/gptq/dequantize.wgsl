// Codes back to weights in their own dtype, as loaders compute them: (code − zero_point) · scale, rounded once. One
// invocation per 32-bit word of the result, whose rows follow each other without padding; `group_of` gives the scale's
// column for each weight column.
override WORKGROUP: u32 = 64;

struct Params {
  rows: u32,
  columns: u32,
  dtype: u32,
  cell_rows: u32,
  cells_per_row: u32,
  first_word: u32,
  end_word: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<i32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read> zero_points: array<i32>;
@group(0) @binding(4) var<storage, read> group_of: array<u32>;
@group(0) @binding(5) var<storage, read_write> words: array<u32>;

fn bits_at(index: u32) -> u32 {
  if (index >= params.rows * params.columns) { return 0u; }
  let row = index / params.columns;
  let cell = row / params.cell_rows * params.cells_per_row + group_of[index % params.columns];
  return narrow_bits((number_of(codes[index]) - f32(zero_points[cell])) * scales[cell], params.dtype);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let word = params.first_word + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (word >= params.end_word) { return; }
  if (params.dtype == DTYPE_F32) { words[word] = bits_at(word); }
  else { words[word] = bits_at(word * 2u) | (bits_at(word * 2u + 1u) << 16u); }
}
