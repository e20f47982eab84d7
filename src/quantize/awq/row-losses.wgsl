// ½ e H eᵀ of each row e of the errors, from its product with the lower triangle L of H, diagonal included: e · (e L) counts
// what is below the diagonal once, which is half of it, and the diagonal whole. One workgroup per row.
override WORKGROUP: u32 = 64;

struct Params { columns: u32, stride: u32, first_row: u32, end_row: u32, first_loss: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> errors: array<f32>;
@group(0) @binding(2) var<storage, read> products: array<f32>;
@group(0) @binding(3) var<storage, read> diagonal: array<f32>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;

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
    let index = row * params.stride + column;
    let error = errors[index];
    sum += error * (products[index] - 0.5 * diagonal[column] * error);
  }
  partial[lane] = sum;
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] += partial[lane + half]; }
  }
  if (lane == 0u && row < params.end_row) { losses[params.first_loss + row] = partial[0]; }
}
