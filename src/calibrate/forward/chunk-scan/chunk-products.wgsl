// What the tokens of one chunk are to each other, for chunk-scan.wgsl: a workgroup takes 32 tokens of one head.
//
// Scores: row i, column j ≤ i holds q_i · k_j. Transforms (gated delta rule): the inverse of the unit lower triangle with
// β_i (k_i · k_j) e^(g_{j+1} + … + g_i) below its diagonal, g the decay's logarithms. They are summed from one token to the other:
// the difference of two running sums would have the error of what all tokens of the chunk add up to.
override KEY_DIM: u32 = 128;
override TRANSFORM: bool = false;

const CHUNK: u32 = 32u;
// Dims that are staged at once.
const DIMS: u32 = 16u;
const PITCH: u32 = 33u;
const LANES: u32 = 128u;

struct Params {
  heads: u32,
  key_heads: u32,
  // In vec4.
  stride: u32,
  left: u32,
  keys: u32,
  products: u32,
  // In elements.
  gates: u32,
  // Items are pairs of half a tile and a head.
  first: u32,
  end: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// First row, end row, first row of the sequence.
@group(0) @binding(1) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;

// Left rows and keys, (rows, DIMS) each; later a square of the chunk.
var<workgroup> staged: array<f32, 1056>;
var<workgroup> solution: array<f32, 1056>;
var<workgroup> decay: array<f32, CHUNK>;
var<workgroup> factor: array<f32, CHUNK>;

fn element(row: u32, column: u32) -> f32 {
  return x[row * params.stride + column / 4u][column % 4u];
}

fn stage(lane: u32, base: u32, row0: u32, end_row: u32, column: u32, dim0: u32) {
  let row = lane / 4u;
  let vec = lane % 4u;
  let dim = dim0 / 4u + vec;
  let index = min(row0 + row, end_row - 1u) * params.stride + column + min(dim, KEY_DIM / 4u - 1u);
  let live = row0 + row < end_row && dim < KEY_DIM / 4u;
  let values = select(vec4(0.0), x[index], live);
  for (var i = 0u; i < 4u; i++) { staged[base + (vec * 4u + i) * PITCH + row] = values[i]; }
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + group.y * groups.x + group.x;
  if (item >= params.end) { return; }
  let head = item % params.heads;
  let half = item / params.heads;
  let tile = tiles[half / 2u];
  let row0 = tile.x + half % 2u * CHUNK;
  let end_row = min(tile.y, row0 + CHUNK);
  if (row0 >= end_row) { return; }
  let key_column = head / (params.heads / params.key_heads) * (KEY_DIM / 4u);

  // Of one row: columns lane % 4 · 8 …, eight of them.
  let row = lane / 4u;
  let column = lane % 4u * 8u;
  var sums = array<f32, 8>();
  for (var dim0 = 0u; dim0 < KEY_DIM; dim0 += DIMS) {
    workgroupBarrier();
    stage(lane, 0u, row0, end_row, params.left + key_column, dim0);
    stage(lane, DIMS * PITCH, row0, end_row, params.keys + key_column, dim0);
    workgroupBarrier();
    for (var dim = 0u; dim < DIMS; dim++) {
      let left = staged[dim * PITCH + row];
      for (var i = 0u; i < 8u; i++) {
        sums[i] = fma(left, staged[(DIMS + dim) * PITCH + column + i], sums[i]);
      }
    }
  }

  if (TRANSFORM) {
    workgroupBarrier();
    if (lane < CHUNK) {
      let own = min(row0 + lane, end_row - 1u);
      decay[lane] = element(own, params.gates + head);
      factor[lane] = element(own, params.gates + params.heads + head);
    }
    workgroupBarrier();
    var between = 0.0;
    for (var at = row; at > column + 7u; at--) { between += decay[at]; }
    for (var i = 8u; i > 0u; i--) {
      let at = column + i - 1u;
      staged[row * PITCH + at] = params.scale * factor[row] * sums[i - 1u] * exp(between);
      between += select(0.0, decay[at], at <= row);
    }
    workgroupBarrier();
    // Forward substitution: each invocation has a column of its own.
    if (lane < CHUNK) {
      for (var at = 0u; at < CHUNK; at++) {
        var value = select(0.0, 1.0, at == lane);
        for (var before = lane; before < at; before++) {
          value = fma(-staged[at * PITCH + before], solution[before * PITCH + lane], value);
        }
        solution[at * PITCH + lane] = value;
      }
    }
    workgroupBarrier();
    for (var i = 0u; i < 8u; i++) { sums[i] = solution[row * PITCH + column + i]; }
  }

  if (row0 + row >= end_row) { return; }
  for (var i = 0u; i < 8u; i++) {
    if (column + i > row) { sums[i] = 0.0; } else if (!TRANSFORM) { sums[i] *= params.scale; }
  }
  let at = (row0 + row) * params.stride + params.products + head * (CHUNK / 4u) + column / 4u;
  x[at] = vec4(sums[0], sums[1], sums[2], sums[3]);
  x[at + 1u] = vec4(sums[4], sums[5], sums[6], sums[7]);
}
