// Σ(a − b)² and Σb² of each row of two float32 matrices. One workgroup per row.
override WORKGROUP: u32 = 64;

struct Params { columns: u32, stride: u32, first_row: u32, end_row: u32, first_sum: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<vec2<f32>>;

var<workgroup> partial: array<vec2<f32>, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = params.first_row + group.y * groups.x + group.x;
  let columns = select(0u, params.columns, row < params.end_row);
  var sum = vec2<f32>();
  for (var column = lane; column < columns; column += WORKGROUP) {
    let other = b[row * params.stride + column];
    let difference = a[row * params.stride + column] - other;
    sum += vec2<f32>(difference * difference, other * other);
  }
  partial[lane] = sum;
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] += partial[lane + half]; }
  }
  if (lane == 0u && row < params.end_row) { sums[params.first_sum + row] = partial[0]; }
}
