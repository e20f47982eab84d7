// What attention.wgsl computes, for adapters that are a processor: each invocation keeps one query row of a head and walks over the keys
// that it sees, eight at a time, with the softmax's maximum and sum corrected on the way. Nothing goes through workgroup memory, and
// neighbouring invocations read the same keys and values, which a processor then loads once.
//
// A workgroup is a tile of query rows, a head and a part of its values.

// vec4 of the result that an invocation keeps, at most 64: wider values are dealt out to several workgroups.
override PART_VECS: u32 = 32;

const LANES = 64u;
// Invocations that a processor takes together: their loops end together.
const TOGETHER = 4u;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + group.y * groups.x + group.x;
  if (item >= params.end) { return; }
  let vec0 = item % params.parts * PART_VECS;
  let head = item / params.parts % params.heads;
  let tile = tiles[item / params.parts / params.heads];
  let kv_head = head / (params.heads / params.kv_heads);
  let last_row = tile.y - 1u;
  // Rows past the end repeat the last one, which is written once.
  let row = min(tile.x + lane, last_row);
  let query = row * params.stride + head * HEAD_VECS;
  let keys = params.keys + kv_head * params.key_stride;
  let values = params.values + kv_head * params.value_stride;
  let own_vecs = min(PART_VECS, VALUE_VECS - vec0);

  var first_key = tile.z;
  if (params.window > 0u) { first_key = max(first_key, tile.x + 1u - min(params.window, tile.x + 1u)); }
  if (params.chunk > 0u) { first_key = max(first_key, tile.x - (tile.x - tile.z) % params.chunk); }
  let end_key = min(tile.x + lane / TOGETHER * TOGETHER + TOGETHER, tile.y);

  var maximum = NEVER;
  var sum = vec4<f32>();
  var result: array<vec4<f32>, 64>;

  for (var key0 = first_key; key0 < end_key; key0 += 8u) {
    let at0 = min(key0, last_row) * params.stride;
    let at1 = min(key0 + 1u, last_row) * params.stride;
    let at2 = min(key0 + 2u, last_row) * params.stride;
    let at3 = min(key0 + 3u, last_row) * params.stride;
    let at4 = min(key0 + 4u, last_row) * params.stride;
    let at5 = min(key0 + 5u, last_row) * params.stride;
    let at6 = min(key0 + 6u, last_row) * params.stride;
    let at7 = min(key0 + 7u, last_row) * params.stride;

    var low = vec4<f32>();
    var high = vec4<f32>();
    for (var dim = 0u; dim < HEAD_VECS; dim++) {
      let q = qkv[query + dim];
      let place = select(keys + dim, params.shared_keys + dim - OWN_VECS, dim >= OWN_VECS);
      low += vec4(dot(q, qkv[at0 + place]), dot(q, qkv[at1 + place]), dot(q, qkv[at2 + place]), dot(q, qkv[at3 + place]));
      high += vec4(dot(q, qkv[at4 + place]), dot(q, qkv[at5 + place]), dot(q, qkv[at6 + place]), dot(q, qkv[at7 + place]));
    }
    let key_of = vec4(key0) + vec4(0u, 1u, 2u, 3u);
    low = scored(low, key_of, row, tile.z);
    high = scored(high, key_of + 4u, row, tile.z);

    let before = maximum;
    maximum = max(maximum, max(largest(low), largest(high)));
    let shrink = exp(before - maximum);
    // A row that has seen no key yet has the maximum NEVER, from which nothing differs.
    low = select(exp(low - maximum), vec4<f32>(), low == vec4(NEVER));
    high = select(exp(high - maximum), vec4<f32>(), high == vec4(NEVER));
    sum = sum * shrink + low + high;
    for (var vec = 0u; vec < own_vecs; vec++) {
      let place = values + vec0 + vec;
      let first = low.x * qkv[at0 + place] + low.y * qkv[at1 + place] + low.z * qkv[at2 + place] + low.w * qkv[at3 + place];
      let next = high.x * qkv[at4 + place] + high.y * qkv[at5 + place] + high.z * qkv[at6 + place] + high.w * qkv[at7 + place];
      result[vec] = result[vec] * shrink + first + next;
    }
  }

  if (tile.x + lane > last_row) { return; }
  var total = sum.x + sum.y + sum.z + sum.w;
  if (SINKS) { total += exp(sinks[head] - maximum); }
  for (var vec = 0u; vec < own_vecs; vec++) {
    qkv[row * params.stride + params.output + head * VALUE_VECS + vec0 + vec] = params.value_scale * result[vec] / total;
  }
}
