// A causal convolution of each channel along the tokens of its sequence, in place. What lies before a sequence is zero.
// One invocation a sequence and channel walks down the rows with the last inputs in registers, so that nothing is read
// after it was overwritten; a block of rows is loaded at once, since a load waits for far longer than it computes.
override WORKGROUP: u32 = 64;
// Tokens that an output sees: itself and those before it; at most 8.
override TAPS: u32 = 4;
override BIASED: bool = false;
override SILU: bool = false;
// x = after · convolution(before · x), with factors from other columns of the row.
override GATED: bool = false;

const BLOCK: u32 = 8u;

struct Params {
  channels: u32,
  stride: u32,
  x: u32,
  before: u32,
  after: u32,
  first: u32,
  end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// First and end row of each sequence.
@group(0) @binding(1) var<storage, read> sequences: array<vec2<u32>>;
// (channels, TAPS), the token itself last.
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (item >= params.end) { return; }
  let channel = item % params.channels;
  let rows = sequences[item / params.channels];

  var taps = array<f32, 8>();
  for (var tap = 0u; tap < TAPS; tap++) { taps[tap] = weight[channel * TAPS + tap]; }
  var start = 0.0;
  if (BIASED) { start = bias[channel]; }

  // The TAPS − 1 inputs before the block, then the block's.
  var inputs = array<f32, 16>();
  for (var row0 = rows.x; row0 < rows.y; row0 += BLOCK) {
    for (var i = 0u; i < BLOCK; i++) {
      let base = min(row0 + i, rows.y - 1u) * params.stride + channel;
      var value = x[base + params.x];
      if (GATED) { value *= x[base + params.before]; }
      inputs[TAPS - 1u + i] = value;
    }
    for (var i = 0u; i < BLOCK && row0 + i < rows.y; i++) {
      var sum = start;
      for (var tap = 0u; tap < TAPS; tap++) { sum = fma(taps[tap], inputs[i + tap], sum); }
      // Clamped where e^(−x) would overflow; the quotient is zero there.
      if (SILU) { sum /= 1.0 + exp(min(-sum, 80.0)); }
      let base = (row0 + i) * params.stride + channel;
      if (GATED) { sum *= x[base + params.after]; }
      x[base + params.x] = sum;
    }
    for (var tap = 0u; tap + 1u < TAPS; tap++) { inputs[tap] = inputs[BLOCK + tap]; }
  }
}
