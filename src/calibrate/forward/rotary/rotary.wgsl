// Rotates pairs of the first dims of each query and key head by their token's angle. Cosines and sines come from a
// table, since a GPU's sine of a large angle may be off by far more than float32's precision.
override WORKGROUP: u32 = 64;
// Pairs are (2i, 2i + 1) instead of (i, i + dims / 2).
override INTERLEAVED: bool = false;

struct Params {
  stride: u32,
  column: u32,
  heads: u32,
  head_dim: u32,
  // Half of the rotated dims: pairs of a head.
  pairs: u32,
  // Sequences longer than `beyond` use the second part of the table, from row `long_row`.
  beyond: u32,
  long_row: u32,
  first: u32,
  end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Position of each token, and length of its sequence.
@group(0) @binding(1) var<storage, read> tokens: array<vec2<u32>>;
// Cosine and sine of each position and pair.
@group(0) @binding(2) var<storage, read> angles: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> qkv: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  let pair = item % params.pairs;
  let head = item / params.pairs % params.heads;
  let row = item / params.pairs / params.heads;
  let token = tokens[row];
  let position = token.x + select(0u, params.long_row, token.y > params.beyond);
  let angle = angles[position * params.pairs + pair];
  let base = row * params.stride + params.column + head * params.head_dim;
  let at = base + select(pair, 2u * pair, INTERLEAVED);
  let other = at + select(params.pairs, 1u, INTERLEAVED);
  let a = qkv[at];
  let b = qkv[other];
  qkv[at] = a * angle.x - b * angle.y;
  qkv[other] = b * angle.x + a * angle.y;
}
