// Causal attention of several sequences laid end to end, with grouped queries, sliding window, chunks, sinks and soft cap,
// in the manner of FlashAttention (arXiv 2205.14135): a workgroup keeps one tile of query rows of one head and walks over
// the keys that it sees, with the softmax's maximum and sum corrected on the way; no matrix of scores is ever stored.
//
// Invocations form a grid of ROW_GROUPS x COLUMN_GROUPS. Each keeps the scores of 8 rows and 4 neighbouring keys, and of
// the result 8 rows and OUT_VECS vec4, COLUMN_GROUPS apart. Both products go through one workgroup array: chunks of
// queries and keys, laid dimension-major, then partial maxima, then chunks of probabilities, key-major, and of values. Rows
// are members of structures: compilers put arrays of them into slow memory, which halves the speed.

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
// vec4 of values that an invocation brings at once, at most 4. (Of queries and of keys it brings two.)
override VALUE_LOADS: u32 = KEYS * VALUES_PITCH / LANES;

var<workgroup> arena: array<vec4<f32>, ARENA>;

// One vec4 of each of an invocation's rows.
struct Rows {
  r0: vec4<f32>,
  r1: vec4<f32>,
  r2: vec4<f32>,
  r3: vec4<f32>,
  r4: vec4<f32>,
  r5: vec4<f32>,
  r6: vec4<f32>,
  r7: vec4<f32>,
}

// rows + (low, high) · xᵀ
fn plus_product(rows: Rows, low: vec4<f32>, high: vec4<f32>, x: vec4<f32>) -> Rows {
  return Rows(
    fma(vec4(low.x), x, rows.r0),
    fma(vec4(low.y), x, rows.r1),
    fma(vec4(low.z), x, rows.r2),
    fma(vec4(low.w), x, rows.r3),
    fma(vec4(high.x), x, rows.r4),
    fma(vec4(high.y), x, rows.r5),
    fma(vec4(high.z), x, rows.r6),
    fma(vec4(high.w), x, rows.r7),
  );
}

fn scaled(rows: Rows, low: vec4<f32>, high: vec4<f32>) -> Rows {
  return Rows(
    rows.r0 * low.x,
    rows.r1 * low.y,
    rows.r2 * low.z,
    rows.r3 * low.w,
    rows.r4 * high.x,
    rows.r5 * high.y,
    rows.r6 * high.z,
    rows.r7 * high.w,
  );
}

// What the softmax makes of a score, but for its sum. A row that has seen no key yet has the maximum NEVER, from which nothing differs.
fn softened(score: vec4<f32>, maximum: f32) -> vec4<f32> {
  return select(exp(score - maximum), vec4<f32>(), score == vec4(NEVER));
}

fn total(x: vec4<f32>) -> f32 { return x.x + x.y + x.z + x.w; }

// The vec4 of dims dim0 … of the tile's rows that an invocation brings i-th. Rows past the end repeat the last one: their results are
// not used. Dims from OWN_DIM on lie at `shared_column`.
fn head_vec(
  lane: u32,
  i: u32,
  row0: u32,
  end_row: u32,
  column: u32,
  shared_column: u32,
  dim0: u32,
) -> vec4<f32> {
  let at = i * LANES + lane;
  let dim = dim0 / 4u + at % (DIMS / 4u);
  let own = min(dim, HEAD_VECS - 1u);
  let place = select(column + own, shared_column + own - OWN_VECS, own >= OWN_VECS);
  let index = min(row0 + at / (DIMS / 4u), end_row - 1u) * params.stride + place;
  return select(vec4(0.0), qkv[index], dim < HEAD_VECS);
}

// Stages it, dimension-major.
fn stage(lane: u32, i: u32, base: u32, pitch: u32, values: vec4<f32>) {
  let at = i * LANES + lane;
  let row = at / (DIMS / 4u);
  let place = base + at % (DIMS / 4u) * 4u * pitch + row / 4u;
  arena[place][row % 4u] = values.x;
  arena[place + pitch][row % 4u] = values.y;
  arena[place + 2u * pitch][row % 4u] = values.z;
  arena[place + 3u * pitch][row % 4u] = values.w;
}

// The vec4 of value rows key0 … of a head, from `vec0` on, that an invocation brings i-th.
fn value_vec(lane: u32, i: u32, key0: u32, end_row: u32, column: u32, vec0: u32) -> vec4<f32> {
  let at = i * LANES + lane;
  let vec = vec0 + at % VALUES_PITCH;
  let row = min(key0 + at / VALUES_PITCH, end_row - 1u);
  return qkv[row * params.stride + column + min(vec, VALUE_VECS - 1u)];
}

fn put(row: u32, end_row: u32, column: u32, value: vec4<f32>, sum: f32) {
  if (row < end_row) { qkv[row * params.stride + column] = params.value_scale * value / sum; }
}

// Writes one vec4 of each row of a head.
fn leave(rows: Rows, low: vec4<f32>, high: vec4<f32>, row: u32, end_row: u32, head: u32, vec: u32) {
  if (vec >= VALUE_VECS) { return; }
  let column = params.output + head * VALUE_VECS + vec;
  put(row, end_row, column, rows.r0, low.x);
  put(row + 1u, end_row, column, rows.r1, low.y);
  put(row + 2u, end_row, column, rows.r2, low.z);
  put(row + 3u, end_row, column, rows.r3, low.w);
  put(row + 4u, end_row, column, rows.r4, high.x);
  put(row + 5u, end_row, column, rows.r5, high.y);
  put(row + 6u, end_row, column, rows.r6, high.z);
  put(row + 7u, end_row, column, rows.r7, high.w);
}

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
  let row0 = first_row + row_group * 8u;

  var first_key = tile.z;
  if (params.window > 0u) { first_key = max(first_key, first_row + 1u - min(params.window, first_row + 1u)); }
  if (params.chunk > 0u) { first_key = max(first_key, first_row - (first_row - tile.z) % params.chunk); }

  // Of 8 rows: running maximum, sum over this invocation's keys, and result.
  var maximum_low = vec4(NEVER);
  var maximum_high = vec4(NEVER);
  var sum_low = vec4<f32>();
  var sum_high = vec4<f32>();
  var result0 = Rows();
  var result1 = Rows();
  var result2 = Rows();
  var result3 = Rows();

  for (var key0 = first_key; key0 < end_row; key0 += TILE_KEYS) {
    var scores = Rows();
    for (var dim0 = 0u; dim0 < HEAD_DIM; dim0 += DIMS) {
      let query_vec0 = head_vec(lane, 0u, first_row, end_row, queries, queries + OWN_VECS, dim0);
      let query_vec1 = head_vec(lane, 1u, first_row, end_row, queries, queries + OWN_VECS, dim0);
      let key_vec0 = head_vec(lane, 0u, key0, end_row, keys, params.shared_keys, dim0);
      let key_vec1 = head_vec(lane, 1u, key0, end_row, keys, params.shared_keys, dim0);
      workgroupBarrier();
      stage(lane, 0u, 0u, ROWS_PITCH, query_vec0);
      stage(lane, 1u, 0u, ROWS_PITCH, query_vec1);
      stage(lane, 0u, keys_base, KEYS_PITCH, key_vec0);
      stage(lane, 1u, keys_base, KEYS_PITCH, key_vec1);
      workgroupBarrier();
      for (var dim = 0u; dim < DIMS; dim++) {
        let low = arena[dim * ROWS_PITCH + row_group * 2u];
        let high = arena[dim * ROWS_PITCH + row_group * 2u + 1u];
        scores = plus_product(scores, low, high, arena[keys_base + dim * KEYS_PITCH + column_group]);
      }
    }

    let key_of = vec4(key0 + column_group * 4u) + vec4(0u, 1u, 2u, 3u);
    scores.r0 = scored(scores.r0, key_of, row0, tile.z);
    scores.r1 = scored(scores.r1, key_of, row0 + 1u, tile.z);
    scores.r2 = scored(scores.r2, key_of, row0 + 2u, tile.z);
    scores.r3 = scored(scores.r3, key_of, row0 + 3u, tile.z);
    scores.r4 = scored(scores.r4, key_of, row0 + 4u, tile.z);
    scores.r5 = scored(scores.r5, key_of, row0 + 5u, tile.z);
    scores.r6 = scored(scores.r6, key_of, row0 + 6u, tile.z);
    scores.r7 = scored(scores.r7, key_of, row0 + 7u, tile.z);

    // Maxima of the tile's rows, exchanged between the invocations of a row group.
    workgroupBarrier();
    let own = column_group * TILE_ROWS / 4u + row_group * 2u;
    arena[own] = vec4(largest(scores.r0), largest(scores.r1), largest(scores.r2), largest(scores.r3));
    arena[own + 1u] = vec4(largest(scores.r4), largest(scores.r5), largest(scores.r6), largest(scores.r7));
    workgroupBarrier();
    let before_low = maximum_low;
    let before_high = maximum_high;
    for (var i = 0u; i < COLUMN_GROUPS; i++) {
      maximum_low = max(maximum_low, arena[i * TILE_ROWS / 4u + row_group * 2u]);
      maximum_high = max(maximum_high, arena[i * TILE_ROWS / 4u + row_group * 2u + 1u]);
    }
    let shrink_low = exp(before_low - maximum_low);
    let shrink_high = exp(before_high - maximum_high);

    scores.r0 = softened(scores.r0, maximum_low.x);
    scores.r1 = softened(scores.r1, maximum_low.y);
    scores.r2 = softened(scores.r2, maximum_low.z);
    scores.r3 = softened(scores.r3, maximum_low.w);
    scores.r4 = softened(scores.r4, maximum_high.x);
    scores.r5 = softened(scores.r5, maximum_high.y);
    scores.r6 = softened(scores.r6, maximum_high.z);
    scores.r7 = softened(scores.r7, maximum_high.w);
    sum_low = sum_low * shrink_low + vec4(total(scores.r0), total(scores.r1), total(scores.r2), total(scores.r3));
    sum_high = sum_high * shrink_high + vec4(total(scores.r4), total(scores.r5), total(scores.r6), total(scores.r7));
    result0 = scaled(result0, shrink_low, shrink_high);
    if (OUT_VECS > 1u) { result1 = scaled(result1, shrink_low, shrink_high); }
    if (OUT_VECS > 2u) { result2 = scaled(result2, shrink_low, shrink_high); }
    if (OUT_VECS > 3u) { result3 = scaled(result3, shrink_low, shrink_high); }

    for (var chunk = 0u; chunk < TILE_KEYS; chunk += KEYS) {
      // More than VALUE_LOADS are of no use, and left out by the compiler.
      let value_vec0 = value_vec(lane, 0u, key0 + chunk, end_row, values, vec0);
      let value_vec1 = value_vec(lane, 1u, key0 + chunk, end_row, values, vec0);
      let value_vec2 = value_vec(lane, 2u, key0 + chunk, end_row, values, vec0);
      let value_vec3 = value_vec(lane, 3u, key0 + chunk, end_row, values, vec0);
      workgroupBarrier();
      let key = column_group * 4u;
      if (key >= chunk && key < chunk + KEYS) {
        let at = (key - chunk) * ROWS_PITCH + row_group * 2u;
        arena[at] = vec4(scores.r0.x, scores.r1.x, scores.r2.x, scores.r3.x);
        arena[at + 1u] = vec4(scores.r4.x, scores.r5.x, scores.r6.x, scores.r7.x);
        arena[at + ROWS_PITCH] = vec4(scores.r0.y, scores.r1.y, scores.r2.y, scores.r3.y);
        arena[at + ROWS_PITCH + 1u] = vec4(scores.r4.y, scores.r5.y, scores.r6.y, scores.r7.y);
        arena[at + 2u * ROWS_PITCH] = vec4(scores.r0.z, scores.r1.z, scores.r2.z, scores.r3.z);
        arena[at + 2u * ROWS_PITCH + 1u] = vec4(scores.r4.z, scores.r5.z, scores.r6.z, scores.r7.z);
        arena[at + 3u * ROWS_PITCH] = vec4(scores.r0.w, scores.r1.w, scores.r2.w, scores.r3.w);
        arena[at + 3u * ROWS_PITCH + 1u] = vec4(scores.r4.w, scores.r5.w, scores.r6.w, scores.r7.w);
      }
      arena[values_base + lane] = value_vec0;
      if (VALUE_LOADS > 1u) { arena[values_base + LANES + lane] = value_vec1; }
      if (VALUE_LOADS > 2u) { arena[values_base + 2u * LANES + lane] = value_vec2; }
      if (VALUE_LOADS > 3u) { arena[values_base + 3u * LANES + lane] = value_vec3; }
      workgroupBarrier();
      for (var i = 0u; i < KEYS; i++) {
        let low = arena[i * ROWS_PITCH + row_group * 2u];
        let high = arena[i * ROWS_PITCH + row_group * 2u + 1u];
        let at = values_base + i * VALUES_PITCH + column_group;
        result0 = plus_product(result0, low, high, arena[at]);
        if (OUT_VECS > 1u) { result1 = plus_product(result1, low, high, arena[at + COLUMN_GROUPS]); }
        if (OUT_VECS > 2u) { result2 = plus_product(result2, low, high, arena[at + 2u * COLUMN_GROUPS]); }
        if (OUT_VECS > 3u) { result3 = plus_product(result3, low, high, arena[at + 3u * COLUMN_GROUPS]); }
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
  let vec = vec0 + column_group;
  leave(result0, sum_low, sum_high, row0, end_row, head, vec);
  if (OUT_VECS > 1u) { leave(result1, sum_low, sum_high, row0, end_row, head, vec + COLUMN_GROUPS); }
  if (OUT_VECS > 2u) { leave(result2, sum_low, sum_high, row0, end_row, head, vec + 2u * COLUMN_GROUPS); }
  if (OUT_VECS > 3u) { leave(result3, sum_low, sum_high, row0, end_row, head, vec + 3u * COLUMN_GROUPS); }
}
