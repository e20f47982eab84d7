// Heads as attention.wgsl and attention-direct.wgsl are given them, and what both make of scores.
//
// Rows of `qkv` hold the heads of a token: queries, keys and values, each a run of columns. The result replaces the
// queries, which no other workgroup reads, or goes to columns of its own where values are not as wide as queries.
override HEAD_DIM: u32 = 128;
override VALUE_DIM: u32 = 128;
// Dims of a key from here on are shared by all heads (latent attention).
override OWN_DIM: u32 = 128;
// Each head's softmax has one term more, which gives nothing.
override SINKS: bool = false;

const NEVER = -1e30;

struct Params {
  heads: u32,
  kv_heads: u32,
  // In vec4; from head to head in the strides.
  stride: u32,
  keys: u32,
  key_stride: u32,
  shared_keys: u32,
  values: u32,
  value_stride: u32,
  output: u32,
  // Workgroups that share a head's values.
  parts: u32,
  // Items are a tile, a head and a part.
  first: u32,
  end: u32,
  // Zero sees all.
  window: u32,
  // Tokens of a chunk, which sees no other; zero for one chunk.
  chunk: u32,
  // Scores of position p are multiplied by 1 + slope · log(1 + floor((p + offset) / every)).
  temperature_every: u32,
  temperature_offset: u32,
  temperature_slope: f32,
  scale: f32,
  value_scale: f32,
  // Zero caps nothing.
  soft_cap: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// First row, end row, first row of the sequence.
@group(0) @binding(1) var<storage, read> tiles: array<vec4<u32>>;
// One logit a head.
@group(0) @binding(2) var<storage, read> sinks: array<f32>;
@group(0) @binding(3) var<storage, read_write> qkv: array<vec4<f32>>;

override HEAD_VECS: u32 = HEAD_DIM / 4;
override OWN_VECS: u32 = OWN_DIM / 4;
override VALUE_VECS: u32 = VALUE_DIM / 4;

// tanh with full relative precision: the quotient cancels near zero, where a few terms of the series do.
fn tanh_of(x: vec4<f32>) -> vec4<f32> {
  let squared = x * x;
  let series = x * (1.0 + squared * (-0.33333333 + squared * (0.13333333 + squared * -0.053968254)));
  let small = exp(-2.0 * abs(x));
  return select(sign(x) * (1.0 - small) / (1.0 + small), series, abs(x) < vec4(0.15));
}

fn largest(x: vec4<f32>) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }

// Scores of four keys, from their dot products with a row's query; NEVER for those that the row does not see.
fn scored(dots: vec4<f32>, key_of: vec4<u32>, row: u32, sequence: u32) -> vec4<f32> {
  var score = dots * params.scale;
  if (params.temperature_slope != 0.0) {
    let times = (row - sequence + params.temperature_offset) / params.temperature_every;
    score *= 1.0 + params.temperature_slope * log(1.0 + f32(times));
  }
  if (params.soft_cap > 0.0) { score = params.soft_cap * tanh_of(score / params.soft_cap); }
  var seen = (key_of <= vec4(row)) & (vec4(params.window == 0u) | (key_of + params.window > vec4(row)));
  if (params.chunk > 0u) { seen = seen & (key_of >= vec4(row - (row - sequence) % params.chunk)); }
  return select(vec4(NEVER), score, seen);
}
