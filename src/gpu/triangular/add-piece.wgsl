// Adds what came of a piece, row behind row, to a panel: elements `first` to `end` of the piece, of which `rows` begins with element
// `begin`. One invocation an element.
override WORKGROUP: u32 = 64;

struct Params { first: u32, end: u32, begin: u32, offset: u32, columns: u32, stride: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<f32>;
@group(0) @binding(2) var<storage, read_write> panel: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = params.first + (group.y * groups.x + group.x) * WORKGROUP + lane;
  if (index >= params.end) { return; }
  let row = index / params.columns;
  panel[params.offset + row * params.stride + index - row * params.columns] += rows[index - params.begin];
}
