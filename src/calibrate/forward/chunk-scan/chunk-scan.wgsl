// A recurrence with a matrix for a state, chunk by chunk: a workgroup keeps some columns of the state of one head and walks
// down its sequence in chunks of 32 tokens, each of which takes four small products instead of 32 steps. The state starts
// at zero.
//
// Mamba-2 (arXiv 2405.21060): S ← e^g S + f k vᵀ, output Sᵀ q. Gated delta rule (arXiv 2412.06464): S ← e^g S, then
// S ← S + β k (v − Sᵀ k)ᵀ. With c the running sum of g in a chunk and S the state before it, what the chunk writes is
// w_i = f_i v_i, or (transforms of chunk-products.wgsl) w = T (β (v − e^c Sᵀ k)); then
//   output_i = e^(c_i) Sᵀ q_i + Σ_{j ≤ i} e^(c_i − c_j) (q_i · k_j) w_j,   S ← e^(c_last) S + Σ_j e^(c_last − c_j) k_j w_jᵀ.
// Differences of c are sums of their own, over the tokens between: c is large where little is left of the first tokens.
override KEY_DIM: u32 = 128;
// vec4 of a value's columns that a workgroup keeps.
override VECS: u32 = 4;
override LANES: u32 = 128;
// vec4 of the state: KEY_DIM · VECS.
override STATE: u32 = 512;
// vec4 of what a chunk writes: 32 · VECS.
override WRITTEN: u32 = 128;
override DELTA: bool = false;
// Adds a multiple of the value, one factor a head.
override SKIP: bool = false;

const CHUNK: u32 = 32u;
const DIMS: u32 = 16u;
const PITCH: u32 = 33u;

struct Params {
  heads: u32,
  key_heads: u32,
  // In vec4.
  stride: u32,
  queries: u32,
  keys: u32,
  values: u32,
  value_vecs: u32,
  scores: u32,
  transforms: u32,
  // In elements: logarithms of the decay, then factors.
  gates: u32,
  // Items are a sequence, a head and one of its `slices`.
  slices: u32,
  first: u32,
  end: u32,
  query_scale: f32,
  key_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// First and end row of each sequence.
@group(0) @binding(1) var<storage, read> sequences: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> skip: array<f32>;
// Values are replaced by the output: no other workgroup reads them.
@group(0) @binding(3) var<storage, read_write> x: array<vec4<f32>>;

var<workgroup> state: array<vec4<f32>, STATE>;
// Keys and queries, DIMS each, or 32 dims of keys; dimension-major.
var<workgroup> staged: array<f32, 1056>;
var<workgroup> written: array<vec4<f32>, WRITTEN>;
// Each token's g, and the sums up to it and behind it.
var<workgroup> decay: array<f32, CHUNK>;
var<workgroup> decay_before: array<f32, CHUNK>;
var<workgroup> decay_after: array<f32, CHUNK>;
var<workgroup> factor: array<f32, CHUNK>;

fn element(row: u32, column: u32) -> f32 {
  return x[row * params.stride + column / 4u][column % 4u];
}

fn stage(lane: u32, base: u32, dims: u32, row0: u32, end_row: u32, column: u32, dim0: u32) {
  let vecs = dims / 4u;
  for (var at = lane; at < CHUNK * vecs; at += LANES) {
    let row = at / vecs;
    let vec = at % vecs;
    let dim = dim0 / 4u + vec;
    let index = min(row0 + row, end_row - 1u) * params.stride + column + min(dim, KEY_DIM / 4u - 1u);
    let values = select(vec4(0.0), x[index], dim < KEY_DIM / 4u);
    for (var i = 0u; i < 4u; i++) { staged[base + (vec * 4u + i) * PITCH + row] = values[i]; }
  }
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + group.y * groups.x + group.x;
  if (item >= params.end) { return; }
  let slice = item % params.slices;
  let head = item / params.slices % params.heads;
  let rows = sequences[item / params.slices / params.heads];
  let key_head = head / (params.heads / params.key_heads);
  let queries = params.queries + key_head * (KEY_DIM / 4u);
  let keys = params.keys + key_head * (KEY_DIM / 4u);
  // Each invocation has a row of the chunk and a vec4 of the slice's columns.
  let own_row = lane / VECS;
  let vec = lane % VECS;
  let value_vec = slice * VECS + vec;
  let has_column = value_vec < params.value_vecs;

  for (var at = lane; at < STATE; at += LANES) { state[at] = vec4(0.0); }
  for (var row0 = rows.x; row0 < rows.y; row0 += CHUNK) {
    workgroupBarrier();
    for (var own = lane; own < CHUNK; own += LANES) {
      let at = min(row0 + own, rows.y - 1u);
      decay[own] = select(0.0, element(at, params.gates + head), row0 + own < rows.y);
      factor[own] = element(at, params.gates + params.heads + head);
    }
    workgroupBarrier();
    for (var own = lane; own < CHUNK; own += LANES) {
      var sum = 0.0;
      for (var at = 0u; at <= own; at++) { sum += decay[at]; }
      decay_before[own] = sum;
      sum = 0.0;
      for (var at = CHUNK - 1u; at > own; at--) { sum += decay[at]; }
      decay_after[own] = sum;
    }

    var from_keys = vec4<f32>();
    var from_queries = vec4<f32>();
    for (var dim0 = 0u; dim0 < KEY_DIM; dim0 += DIMS) {
      workgroupBarrier();
      if (DELTA) { stage(lane, 0u, DIMS, row0, rows.y, keys, dim0); }
      stage(lane, DIMS * PITCH, DIMS, row0, rows.y, queries, dim0);
      workgroupBarrier();
      for (var dim = 0u; dim < min(DIMS, KEY_DIM - dim0); dim++) {
        let part = state[(dim0 + dim) * VECS + vec];
        if (DELTA) { from_keys = fma(vec4(staged[dim * PITCH + own_row]), part, from_keys); }
        from_queries = fma(vec4(staged[(DIMS + dim) * PITCH + own_row]), part, from_queries);
      }
    }

    let row = min(row0 + own_row, rows.y - 1u);
    let is_live = row0 + own_row < rows.y;
    let value_at = row * params.stride + params.values + head * params.value_vecs + min(value_vec, params.value_vecs - 1u);
    let value = select(vec4(0.0), x[value_at], is_live && has_column);
    let own_decay = exp(decay_before[own_row]);
    var own_written = factor[own_row] * value;
    if (DELTA) {
      written[lane] = factor[own_row] * (value - own_decay * params.key_scale * from_keys);
      workgroupBarrier();
      own_written = vec4(0.0);
      let transforms = row * params.stride + params.transforms + head * (CHUNK / 4u);
      for (var j = 0u; j <= own_row; j++) {
        own_written = fma(vec4(x[transforms + j / 4u][j % 4u]), written[j * VECS + vec], own_written);
      }
      workgroupBarrier();
    }
    written[lane] = select(vec4(0.0), own_written, is_live);
    workgroupBarrier();

    var output = own_decay * params.query_scale * from_queries;
    let scores = row * params.stride + params.scores + key_head * (CHUNK / 4u);
    var between = 0.0;
    for (var later = own_row + 1u; later > 0u; later--) {
      let j = later - 1u;
      let weight = x[scores + j / 4u][j % 4u] * exp(between);
      output = fma(vec4(weight), written[j * VECS + vec], output);
      between += decay[j];
    }
    if (SKIP) { output = fma(vec4(skip[head]), value, output); }
    if (is_live && has_column) { x[value_at] = output; }

    let last = decay_before[CHUNK - 1u];
    for (var dim0 = 0u; dim0 < KEY_DIM; dim0 += CHUNK) {
      workgroupBarrier();
      stage(lane, 0u, CHUNK, row0, rows.y, keys, dim0);
      workgroupBarrier();
      if (dim0 + own_row < KEY_DIM) {
        let at = (dim0 + own_row) * VECS + vec;
        var sum = exp(last) * state[at];
        for (var i = 0u; i < CHUNK; i++) {
          let weight = params.key_scale * exp(decay_after[i]) * staged[own_row * PITCH + i];
          sum = fma(vec4(weight), written[i * VECS + vec], sum);
        }
        state[at] = sum;
      }
    }
  }
}
