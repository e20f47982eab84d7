// What logits of a run of the vocabulary say of each token, in eight numbers: the largest logit, Σ exp(logit − largest), the
// logit of the token that came; the same of another model; Σ exp(other − its largest) · (other − own), and the own logit of the
// token that the other prefers. One workgroup per token.
override WORKGROUP: u32 = 256;
override COMPARED: bool = false;

struct Params {
  columns: u32,
  stride: u32,
  first_row: u32,
  end_row: u32,
  // Place of the first row's token among all.
  first_token: u32,
  // Id of the first column.
  first_id: u32,
}

// Less than any logit: literals of infinities are refused.
const NOTHING = -3.0e38;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> own: array<f32>;
@group(0) @binding(2) var<storage, read> other: array<f32>;
// The id that comes after each token.
@group(0) @binding(3) var<storage, read> targets: array<u32>;
@group(0) @binding(4) var<storage, read_write> found: array<vec4<f32>>;

var<workgroup> partial: array<vec4<f32>, WORKGROUP>;

fn largest_of(lane: u32, value: vec4<f32>) -> vec4<f32> {
  workgroupBarrier();
  partial[lane] = value;
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] = max(partial[lane], partial[lane + half]); }
  }
  workgroupBarrier();
  return partial[0];
}

fn sum_of(lane: u32, value: vec4<f32>) -> vec4<f32> {
  workgroupBarrier();
  partial[lane] = value;
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] += partial[lane + half]; }
  }
  workgroupBarrier();
  return partial[0];
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = params.first_row + group.y * groups.x + group.x;
  let columns = select(0u, params.columns, row < params.end_row);
  let start = row * params.stride;

  var largest = vec4<f32>(NOTHING);
  for (var column = lane; column < columns; column += WORKGROUP) {
    largest.x = max(largest.x, own[start + column]);
    if (COMPARED) { largest.y = max(largest.y, other[start + column]); }
  }
  largest = largest_of(lane, largest);

  var at_best = vec4<f32>(NOTHING);
  var sums = vec4<f32>();
  for (var column = lane; column < columns; column += WORKGROUP) {
    let p = own[start + column];
    sums.x += exp(p - largest.x);
    if (COMPARED) {
      let q = other[start + column];
      let share = exp(q - largest.y);
      sums.y += share;
      sums.z += share * (q - p);
      if (q == largest.y) { at_best.x = max(at_best.x, p); }
    }
  }
  sums = sum_of(lane, sums);
  if (COMPARED) { at_best = largest_of(lane, at_best); }

  if (lane != 0u || row >= params.end_row) { return; }
  let token = params.first_token + row;
  let id = targets[token];
  let isHere = id >= params.first_id && id - params.first_id < columns;
  let column = select(0u, id - params.first_id, isHere);
  found[2u * token] = vec4<f32>(largest.x, sums.x, own[start + column], largest.y);
  found[2u * token + 1u] = vec4<f32>(sums.y, select(0.0, other[start + column], COMPARED), sums.z, at_best.x);
}
