// Causal attention of several sequences laid end to end, with grouped queries, sliding window, chunks, sinks and soft cap,
// in the manner of FlashAttention (arXiv 2205.14135): a workgroup keeps one tile of query rows of one head and walks over
// the keys that it sees, with the softmax's maximum and sum corrected on the way; no matrix of scores is ever stored.
//
// Invocations form a grid of ROW_GROUPS x COLUMN_GROUPS. Each keeps the scores of 8 rows and 4 neighbouring keys, and of
// the result 8 rows and OUT_VECS vec4, COLUMN_GROUPS apart. Both products go through one workgroup array: chunks of
// queries and keys, laid dimension-major, then partial maxima, then chunks of probabilities, key-major, and of values.

override ROW_GROUPS: u32 = 8;
override COLUMN_GROUPS: u32 = 16;
// Dimensions of queries and keys, and keys of probabilities and values, that are staged at once.
override DIMS: u32 = 16;
override KEYS: u32 = 16;
// vec4 of the result that each invocation keeps of each row, at most 4: wider values are dealt out to several workgroups.
override OUT_VECS: u32 = 2;
// vec4 of workgroup memory: what the largest of the phases needs.
override ARENA: u32 = 784;

override LANES: u32 = ROW_GROUPS * COLUMN_GROUPS;
override TILE_ROWS: u32 = ROW_GROUPS * 8;
override TILE_KEYS: u32 = COLUMN_GROUPS * 4;
// One vec4 of padding a row keeps the transposing stores off each other's banks.
override ROWS_PITCH: u32 = TILE_ROWS / 4 + 1;
override KEYS_PITCH: u32 = TILE_KEYS / 4 + 1;
override VALUES_PITCH: u32 = OUT_VECS * COLUMN_GROUPS;

var<workgroup> arena: array<vec4<f32>, ARENA>;

fn transpose_into(at: u32, pitch: u32, row: u32, values: vec4<f32>) {
  arena[at + row / 4u][row % 4u] = values.x;
  arena[at + pitch + row / 4u][row % 4u] = values.y;
  arena[at + 2u * pitch + row / 4u][row % 4u] = values.z;
  arena[at + 3u * pitch + row / 4u][row % 4u] = values.w;
}

// Stages dims dim0 … of `rows` rows, dimension-major. Rows past the end repeat the last one: their results are not used.
// Dims from OWN_DIM on lie at `shared_column`.
fn stage(
  lane: u32,
  base: u32,
  pitch: u32,
  rows: u32,
  row0: u32,
  end_row: u32,
  column: u32,
  shared_column: u32,
  dim0: u32,
) {
  let vecs = DIMS / 4u;
  for (var at = lane; at < rows * vecs; at += LANES) {
    let row = at / vecs;
    let vec = at % vecs;
    let dim = dim0 / 4u + vec;
    let own = min(dim, HEAD_VECS - 1u);
    let place = select(column + own, shared_column + own - OWN_VECS, own >= OWN_VECS);
    let index = min(row0 + row, end_row - 1u) * params.stride + place;
    let values = select(vec4(0.0), qkv[index], dim < HEAD_VECS);
    transpose_into(base + vec * 4u * pitch, pitch, row, values);
  }
}

// Stages value rows key0 … key0 + KEYS − 1 of a head, from vec4 `vec0` on.
fn stage_values(lane: u32, base: u32, key0: u32, end_row: u32, column: u32, vec0: u32) {
  for (var at = lane; at < KEYS * VALUES_PITCH; at += LANES) {
    let vec = vec0 + at % VALUES_PITCH;
    let row = min(key0 + at / VALUES_PITCH, end_row - 1u);
    arena[base + at] = qkv[row * params.stride + column + min(vec, VALUE_VECS - 1u)];
  }
}

fn total(x: vec4<f32>) -> f32 { return x.x + x.y + x.z + x.w; }

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + group.y * groups.x + group.x;
  if (item >= params.end) { return; }
  let vec0 = item % params.parts * VALUES_PITCH;
  let head = item / params.parts % params.heads;
  let tile = tiles[item / params.parts / params.heads];
  let kv_head = head / (params.heads / params.kv_heads);
  let first_row = tile.x;
  let end_row = tile.y;
  let queries = head * HEAD_VECS;
  let keys = params.keys + kv_head * params.key_stride;
  let values = params.values + kv_head * params.value_stride;
  let row_group = lane / COLUMN_GROUPS;
  let column_group = lane % COLUMN_GROUPS;
  let keys_base = DIMS * ROWS_PITCH;
  let values_base = KEYS * ROWS_PITCH;

  var first_key = tile.z;
  if (params.window > 0u) { first_key = max(first_key, first_row + 1u - min(params.window, first_row + 1u)); }
  if (params.chunk > 0u) { first_key = max(first_key, first_row - (first_row - tile.z) % params.chunk); }

  // Of 8 rows: running maximum, sum over this invocation's keys, and result.
  var maximum_low = vec4(NEVER);
  var maximum_high = vec4(NEVER);
  var sum_low = vec4<f32>();
  var sum_high = vec4<f32>();
  var result: array<vec4<f32>, 32>;

  for (var key0 = first_key; key0 < end_row; key0 += TILE_KEYS) {
    // Written out: without it Chromium 156 zeroes the array once, not in each round of the loop.
    var scores = array<vec4<f32>, 8>();
    for (var dim0 = 0u; dim0 < HEAD_DIM; dim0 += DIMS) {
      workgroupBarrier();
      stage(lane, 0u, ROWS_PITCH, TILE_ROWS, first_row, end_row, queries, queries + OWN_VECS, dim0);
      stage(lane, keys_base, KEYS_PITCH, TILE_KEYS, key0, end_row, keys, params.shared_keys, dim0);
      workgroupBarrier();
      for (var dim = 0u; dim < DIMS; dim++) {
        let low = arena[dim * ROWS_PITCH + row_group * 2u];
        let high = arena[dim * ROWS_PITCH + row_group * 2u + 1u];
        let key = arena[keys_base + dim * KEYS_PITCH + column_group];
        scores[0] = fma(vec4(low.x), key, scores[0]);
        scores[1] = fma(vec4(low.y), key, scores[1]);
        scores[2] = fma(vec4(low.z), key, scores[2]);
        scores[3] = fma(vec4(low.w), key, scores[3]);
        scores[4] = fma(vec4(high.x), key, scores[4]);
        scores[5] = fma(vec4(high.y), key, scores[5]);
        scores[6] = fma(vec4(high.z), key, scores[6]);
        scores[7] = fma(vec4(high.w), key, scores[7]);
      }
    }

    let key_of = vec4(key0 + column_group * 4u) + vec4(0u, 1u, 2u, 3u);
    for (var i = 0u; i < 8u; i++) {
      let row = first_row + row_group * 8u + i;
      var score = scores[i] * params.scale;
      if (params.temperature_slope != 0.0) {
        let times = (row - tile.z + params.temperature_offset) / params.temperature_every;
        score *= 1.0 + params.temperature_slope * log(1.0 + f32(times));
      }
      if (params.soft_cap > 0.0) { score = params.soft_cap * tanh_of(score / params.soft_cap); }
      var seen = (key_of <= vec4(row)) & (vec4(params.window == 0u) | (key_of + params.window > vec4(row)));
      if (params.chunk > 0u) { seen = seen & (key_of >= vec4(row - (row - tile.z) % params.chunk)); }
      scores[i] = select(vec4(NEVER), score, seen);
    }

    // Maxima of the tile's rows, exchanged between the invocations of a row group.
    workgroupBarrier();
    let own = column_group * TILE_ROWS / 4u + row_group * 2u;
    arena[own] = vec4(largest(scores[0]), largest(scores[1]), largest(scores[2]), largest(scores[3]));
    arena[own + 1u] = vec4(largest(scores[4]), largest(scores[5]), largest(scores[6]), largest(scores[7]));
    workgroupBarrier();
    let before_low = maximum_low;
    let before_high = maximum_high;
    for (var i = 0u; i < COLUMN_GROUPS; i++) {
      maximum_low = max(maximum_low, arena[i * TILE_ROWS / 4u + row_group * 2u]);
      maximum_high = max(maximum_high, arena[i * TILE_ROWS / 4u + row_group * 2u + 1u]);
    }
    let shrink_low = exp(before_low - maximum_low);
    let shrink_high = exp(before_high - maximum_high);

    for (var i = 0u; i < 8u; i++) {
      let maximum = select(maximum_high[i % 4u], maximum_low[i % 4u], i < 4u);
      // A row that has seen no key yet has the maximum NEVER, from which nothing differs.
      scores[i] = select(exp(scores[i] - maximum), vec4<f32>(), scores[i] == vec4(NEVER));
    }
    sum_low = sum_low * shrink_low + vec4(total(scores[0]), total(scores[1]), total(scores[2]), total(scores[3]));
    sum_high = sum_high * shrink_high + vec4(total(scores[4]), total(scores[5]), total(scores[6]), total(scores[7]));
    for (var j = 0u; j < OUT_VECS; j++) {
      result[j * 8u] *= shrink_low.x;
      result[j * 8u + 1u] *= shrink_low.y;
      result[j * 8u + 2u] *= shrink_low.z;
      result[j * 8u + 3u] *= shrink_low.w;
      result[j * 8u + 4u] *= shrink_high.x;
      result[j * 8u + 5u] *= shrink_high.y;
      result[j * 8u + 6u] *= shrink_high.z;
      result[j * 8u + 7u] *= shrink_high.w;
    }

    for (var chunk = 0u; chunk < TILE_KEYS; chunk += KEYS) {
      workgroupBarrier();
      let key = column_group * 4u;
      if (key >= chunk && key < chunk + KEYS) {
        let at = (key - chunk) * ROWS_PITCH + row_group * 2u;
        arena[at] = vec4(scores[0].x, scores[1].x, scores[2].x, scores[3].x);
        arena[at + 1u] = vec4(scores[4].x, scores[5].x, scores[6].x, scores[7].x);
        arena[at + ROWS_PITCH] = vec4(scores[0].y, scores[1].y, scores[2].y, scores[3].y);
        arena[at + ROWS_PITCH + 1u] = vec4(scores[4].y, scores[5].y, scores[6].y, scores[7].y);
        arena[at + 2u * ROWS_PITCH] = vec4(scores[0].z, scores[1].z, scores[2].z, scores[3].z);
        arena[at + 2u * ROWS_PITCH + 1u] = vec4(scores[4].z, scores[5].z, scores[6].z, scores[7].z);
        arena[at + 3u * ROWS_PITCH] = vec4(scores[0].w, scores[1].w, scores[2].w, scores[3].w);
        arena[at + 3u * ROWS_PITCH + 1u] = vec4(scores[4].w, scores[5].w, scores[6].w, scores[7].w);
      }
      stage_values(lane, values_base, key0 + chunk, end_row, values, vec0);
      workgroupBarrier();
      for (var i = 0u; i < KEYS; i++) {
        let low = arena[i * ROWS_PITCH + row_group * 2u];
        let high = arena[i * ROWS_PITCH + row_group * 2u + 1u];
        for (var j = 0u; j < OUT_VECS; j++) {
          let value = arena[values_base + i * VALUES_PITCH + j * COLUMN_GROUPS + column_group];
          result[j * 8u] = fma(vec4(low.x), value, result[j * 8u]);
          result[j * 8u + 1u] = fma(vec4(low.y), value, result[j * 8u + 1u]);
          result[j * 8u + 2u] = fma(vec4(low.z), value, result[j * 8u + 2u]);
          result[j * 8u + 3u] = fma(vec4(low.w), value, result[j * 8u + 3u]);
          result[j * 8u + 4u] = fma(vec4(high.x), value, result[j * 8u + 4u]);
          result[j * 8u + 5u] = fma(vec4(high.y), value, result[j * 8u + 5u]);
          result[j * 8u + 6u] = fma(vec4(high.z), value, result[j * 8u + 6u]);
          result[j * 8u + 7u] = fma(vec4(high.w), value, result[j * 8u + 7u]);
        }
      }
    }
  }

  workgroupBarrier();
  let own = column_group * TILE_ROWS / 4u + row_group * 2u;
  arena[own] = sum_low;
  arena[own + 1u] = sum_high;
  workgroupBarrier();
  sum_low = vec4<f32>();
  sum_high = vec4<f32>();
  for (var i = 0u; i < COLUMN_GROUPS; i++) {
    sum_low += arena[i * TILE_ROWS / 4u + row_group * 2u];
    sum_high += arena[i * TILE_ROWS / 4u + row_group * 2u + 1u];
  }
  if (SINKS) {
    let sink = vec4(sinks[head]);
    sum_low += exp(sink - maximum_low);
    sum_high += exp(sink - maximum_high);
  }
  for (var i = 0u; i < 8u; i++) {
    let row = first_row + row_group * 8u + i;
    if (row >= end_row) { return; }
    let sum = select(sum_high[i % 4u], sum_low[i % 4u], i < 4u);
    for (var j = 0u; j < OUT_VECS; j++) {
      let vec = vec0 + j * COLUMN_GROUPS + column_group;
      if (vec < VALUE_VECS) {
        qkv[row * params.stride + params.output + head * VALUE_VECS + vec] = params.value_scale * result[j * 8u + i] / sum;
      }
    }
  }
}
