// The largest magnitude of a matrix, as float32 bits: magnitudes sort like their bits, infinities above all numbers and
// NaN above infinities. One workgroup a row; columns past the end are left out.
override DTYPE: u32 = 2;
override WORKGROUP: u32 = 64;

struct Params {
  rows: u32,
  columns: u32,
  stride: u32,
  offset: u32,
  slot: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> largest: array<atomic<u32>>;

var<workgroup> of_row: atomic<u32>;

// The two halves of a word of 16-bit values, as float32 bits without sign.
fn halves(word: u32) -> vec2<u32> {
  if (DTYPE == DTYPE_BF16) { return vec2(word << 16u, word) & vec2(0x7fff0000u); }
  return bitcast<vec2<u32>>(unpack2x16float(word)) & vec2(0x7fffffffu);
}

fn of_word(word: u32, column: u32) -> u32 {
  if (DTYPE == DTYPE_F32) { return select(0u, word & 0x7fffffffu, column < params.columns); }
  let both = halves(word);
  return max(select(0u, both.x, column < params.columns), select(0u, both.y, column + 1u < params.columns));
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let per_word = select(2u, 1u, DTYPE == DTYPE_F32);
  var found = 0u;
  for (var column = lane * 4u * per_word; column < params.columns; column += WORKGROUP * 4u * per_word) {
    let words = values[(params.offset + row * params.stride + column) / (4u * per_word)];
    for (var i = 0u; i < 4u; i++) { found = max(found, of_word(words[i], column + i * per_word)); }
  }
  atomicMax(&of_row, found);
  workgroupBarrier();
  if (lane == 0u) { atomicMax(&largest[params.slot], atomicLoad(&of_row)); }
}
