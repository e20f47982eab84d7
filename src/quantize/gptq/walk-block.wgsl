// Quantizes the columns of one block, from the last to the first, for 8 rows at a time: each column's target is its weight
// plus what the errors of the columns before it push onto it. L is the Cholesky factor of the Hessian in the order of
// elimination, reversed (see reference.ts); a column's place in it is `a`, its place in the weight `original`.
//
// The block goes in chunks of 8 columns. Eight invocations share a row and all of them quantize all columns of the chunk:
// telling each other would cost a barrier a column, where now there is one a chunk. Then each adds the chunk's errors to
// its share of the columns that are left. Weights and scales are fetched a chunk ahead, since they lie scattered.
const ROWS: u32 = 8u;
const LANES_PER_ROW: u32 = 8u;
const CHUNK: u32 = LANES_PER_ROW;
const QUADS: u32 = 32u; // of a block of 128 columns
const LANES: u32 = ROWS * LANES_PER_ROW;
// One quad of padding keeps rows off each other's banks.
const PUSH_ROW: u32 = QUADS + 1u;
// MX has scales of 2^-127 for groups of zeros, which a GPU may take for zero.
const LEAST_SCALE: f32 = 1.1754943508222875e-38;

struct Params {
  rows: u32,
  columns: u32,
  dtype: u32,
  cell_rows: u32,
  cells_per_row: u32,
  q_min: f32,
  q_max: f32,
  first: u32,
  end: u32,
  panel_first_row: u32,
  panel_stride: u32,
  stride: u32,
  first_group: u32,
}

struct Column { original: u32, group: u32, dead: u32, unused: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<Column>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read> zero_points: array<i32>;
@group(0) @binding(5) var<storage, read> factor: array<vec4<f32>>;
// In: what errors of earlier blocks push onto the block's columns. Out: the error of the product with L, for the loss.
@group(0) @binding(6) var<storage, read_write> pushed: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> codes: array<i32>;
@group(0) @binding(8) var<storage, read_write> errors: array<vec4<f32>>;

var<workgroup> pushes: array<vec4<f32>, ROWS * PUSH_ROW>;
// Weight, scale, zero point and diagonal of the chunk's columns; two sets, so that one barrier a chunk is enough.
var<workgroup> chunk_columns: array<vec4<f32>, 2u * ROWS * CHUNK>;

fn weight_at(index: u32) -> f32 {
  if (params.dtype == DTYPE_F32) { return bitcast<f32>(weights[index]); }
  return widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, params.dtype);
}

// Index of the first quad of row `a` of the factor.
fn factor_row(a: u32) -> u32 {
  return (min(a, params.end - 1u) - params.panel_first_row) * params.panel_stride / 4u;
}

// Places past the end have a weight of zero, so that they leave no error.
fn column_values(row: u32, column: Column, a: u32) -> vec4<f32> {
  if (a >= params.end) { return vec4(0.0, 1.0, 0.0, 1.0); }
  let weight = select(weight_at(row * params.columns + column.original), 0.0, column.dead == 1u);
  let cell = row / params.cell_rows * params.cells_per_row + column.group;
  let quad = factor[factor_row(a) + a / 4u];
  return vec4(weight, max(scales[cell], LEAST_SCALE), f32(zero_points[cell]), quad[a % 4u]);
}

struct Settled { number: f32, error: f32, miss: f32 }

fn settle(push: f32, column: vec4<f32>) -> Settled {
  let goal = column.x + push / column.w;
  let number = nearest_number(goal / column.y + column.z, params.q_min, params.q_max);
  let value = round_to_dtype((number - column.z) * column.y, params.dtype);
  return Settled(number, column.x - value, (goal - value) * column.w);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let local_row = lane / LANES_PER_ROW;
  let t = lane % LANES_PER_ROW;
  let row = (params.first_group + group.x) * ROWS + local_row;
  let inside = row < params.rows;
  let safe_row = min(row, params.rows - 1u);
  let width = params.end - params.first;
  let row_quads = (safe_row * params.stride + params.first) / 4u;
  let own_pushes = local_row * PUSH_ROW;
  for (var quad = t; quad < QUADS; quad += LANES_PER_ROW) {
    if (quad * 4u < width) { pushes[own_pushes + quad] = pushed[row_quads + quad]; }
    else { pushes[own_pushes + quad] = vec4(0.0); }
  }
  let chunks = (width + CHUNK - 1u) / CHUNK;
  var next_place = params.first + (chunks - 1u) * CHUNK + t;
  var next_column = order[min(next_place, params.end - 1u)];
  var next = column_values(safe_row, next_column, next_place);
  for (var chunk = chunks; chunk > 0u; chunk--) {
    let base = (chunk - 1u) * CHUNK; // in the block
    let own_columns = ((chunk & 1u) * ROWS + local_row) * CHUNK;
    let original = next_column.original;
    chunk_columns[own_columns + t] = next;
    workgroupBarrier();
    if (chunk > 1u) {
      next_place -= CHUNK;
      next_column = order[next_place];
      next = column_values(safe_row, next_column, next_place);
    }

    let a = params.first + base;
    let r0 = factor_row(a); let r1 = factor_row(a + 1u); let r2 = factor_row(a + 2u); let r3 = factor_row(a + 3u);
    let r4 = factor_row(a + 4u); let r5 = factor_row(a + 5u); let r6 = factor_row(a + 6u); let r7 = factor_row(a + 7u);
    let low = a / 4u;
    let high = low + 1u;
    var push_low = pushes[own_pushes + base / 4u];
    var push_high = pushes[own_pushes + base / 4u + 1u];
    let s7 = settle(push_high.w, chunk_columns[own_columns + 7u]);
    push_high += s7.error * factor[r7 + high]; push_low += s7.error * factor[r7 + low];
    let s6 = settle(push_high.z, chunk_columns[own_columns + 6u]);
    push_high += s6.error * factor[r6 + high]; push_low += s6.error * factor[r6 + low];
    let s5 = settle(push_high.y, chunk_columns[own_columns + 5u]);
    push_high += s5.error * factor[r5 + high]; push_low += s5.error * factor[r5 + low];
    let s4 = settle(push_high.x, chunk_columns[own_columns + 4u]);
    push_low += s4.error * factor[r4 + low];
    let s3 = settle(push_low.w, chunk_columns[own_columns + 3u]);
    push_low += s3.error * factor[r3 + low];
    let s2 = settle(push_low.z, chunk_columns[own_columns + 2u]);
    push_low += s2.error * factor[r2 + low];
    let s1 = settle(push_low.y, chunk_columns[own_columns + 1u]);
    push_low += s1.error * factor[r1 + low];
    let s0 = settle(push_low.x, chunk_columns[own_columns]);

    for (var quad = t; quad < base / 4u; quad += LANES_PER_ROW) {
      let column = params.first / 4u + quad;
      var push = pushes[own_pushes + quad];
      push += s7.error * factor[r7 + column];
      push += s6.error * factor[r6 + column];
      push += s5.error * factor[r5 + column];
      push += s4.error * factor[r4 + column];
      push += s3.error * factor[r3 + column];
      push += s2.error * factor[r2 + column];
      push += s1.error * factor[r1 + column];
      push += s0.error * factor[r0 + column];
      pushes[own_pushes + quad] = push;
    }

    let is_low = t < 4u;
    let low_numbers = vec4(s0.number, s1.number, s2.number, s3.number);
    let four = select(vec4(s4.number, s5.number, s6.number, s7.number), low_numbers, is_low);
    if (inside && base + t < width) { codes[row * params.columns + original] = code_of(four[t % 4u]); }
    // The first two invocations of a row write what the product with L goes on from.
    if (inside && t < 2u && base + t * 4u < width) {
      let quad = row_quads + base / 4u + t;
      let is_first = t == 0u;
      errors[quad] = select(vec4(s4.error, s5.error, s6.error, s7.error), vec4(s0.error, s1.error, s2.error, s3.error), is_first);
      pushed[quad] = select(vec4(s4.miss, s5.miss, s6.miss, s7.miss), vec4(s0.miss, s1.miss, s2.miss, s3.miss), is_first);
    }
  }
}
