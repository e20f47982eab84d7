// Weights as float32 with their columns in the order of quantization: what actorder "group" takes its scales from.
override WORKGROUP: u32 = 64;

struct Params { columns: u32, dtype: u32, stride: u32, first_row: u32, end_row: u32 }

struct Column { original: u32, group: u32, dead: u32, unused: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<Column>;
@group(0) @binding(3) var<storage, read_write> gathered: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = params.first_row + group.y;
  let place = group.x * WORKGROUP + lane;
  if (row >= params.end_row || place >= params.columns) { return; }
  // `order` runs backwards: its last entry is quantized first
  let index = row * params.columns + order[params.columns - 1u - place].original;
  var weight: f32;
  if (params.dtype == DTYPE_F32) { weight = bitcast<f32>(weights[index]); }
  else { weight = widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, params.dtype); }
  gathered[row * params.stride + place] = weight;
}
