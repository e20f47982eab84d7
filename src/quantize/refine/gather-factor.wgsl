// Rows of the factor for a run of the walk's columns, (width, out_stride), as far as they lie in one panel; zero after
// their diagonal. One invocation per element.
override WORKGROUP: u32 = 64;

struct Params {
  panel_first_row: u32,
  panel_rows: u32,
  panel_stride: u32,
  first: u32,
  out_stride: u32,
}

struct Column { original: u32, group: u32, place: u32, unused: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> columns: array<Column>;
@group(0) @binding(2) var<storage, read> panel: array<f32>;
@group(0) @binding(3) var<storage, read_write> gathered: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = group.x * WORKGROUP + lane;
  let place = columns[params.first + group.y].place;
  let row = place - params.panel_first_row; // wraps far beyond the panel for rows before it
  if (at >= params.out_stride || row >= params.panel_rows) { return; }
  var value = 0.0;
  if (at <= place) { value = panel[row * params.panel_stride + at]; }
  gathered[group.y * params.out_stride + at] = value;
}
