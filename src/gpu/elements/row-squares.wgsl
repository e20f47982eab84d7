// Σx² of each row of a float32 matrix, in place of the row's sum or added to it. One workgroup per row.
override WORKGROUP: u32 = 64;
override ADDS: bool = false;

struct Params { columns: u32, stride: u32, offset: u32, first_row: u32, end_row: u32, first_sum: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

var<workgroup> partial: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = params.first_row + group.y * groups.x + group.x;
  let columns = select(0u, params.columns, row < params.end_row);
  var sum = 0.0;
  for (var column = lane; column < columns; column += WORKGROUP) {
    let value = values[params.offset + row * params.stride + column];
    sum += value * value;
  }
  partial[lane] = sum;
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] += partial[lane + half]; }
  }
  if (lane != 0u || row >= params.end_row) { return; }
  if (ADDS) { sums[params.first_sum + row] += partial[0]; } else { sums[params.first_sum + row] = partial[0]; }
}
