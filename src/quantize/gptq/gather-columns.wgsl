// Values as float32 with their columns in an order: as they lie, of elimination, or of quantization, which is that backwards.
// What actorder "group" takes its scales from, and what a drift is made of.
override WORKGROUP: u32 = 64;

const AS_THEY_LIE: u32 = 0u;
const ELIMINATION: u32 = 1u;

struct Params {
  columns: u32,
  dtype: u32,
  sequence: u32,
  from_stride: u32,
  stride: u32,
  first_row: u32,
  end_row: u32,
}

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
  var column = place;
  if (params.sequence == ELIMINATION) { column = order[place].original; }
  // `order` runs backwards: its last entry is quantized first
  else if (params.sequence != AS_THEY_LIE) { column = order[params.columns - 1u - place].original; }
  let index = row * params.from_stride + column;
  var weight: f32;
  if (params.dtype == DTYPE_F32) { weight = bitcast<f32>(weights[index]); }
  else { weight = widen_bits((weights[index >> 1u] >> ((index & 1u) * 16u)) & 0xffffu, params.dtype); }
  gathered[row * params.stride + place] = weight;
}
