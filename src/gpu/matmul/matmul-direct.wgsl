// C = alpha · op(A) · op(B), or C += that, in float32: the same product as matmul.wgsl, sum for sum, for adapters that are a processor.
// Each invocation keeps 8 x 8 results and reads what they are made of from where it lies: a processor's caches do what workgroup
// memory does on a GPU, and a barrier costs it more than it saves.
//
// Measured on SwiftShader (256 x 512 x 512, two cores, GFLOP/s): 6.6 as it stands; 2.9 with tiles in workgroup memory; 4.3 with 4 x 4
// results, 5.1 with 8 x 4. It compiles in a ninth of the time.

const TILE = 64u;
const LANES = 64u;

// Four neighbouring rows of A, or columns of B, at k, k + 1, k + 2 and k + 3.
struct Four {
  x: vec4<f32>,
  y: vec4<f32>,
  z: vec4<f32>,
  w: vec4<f32>,
}

fn transposed(p: vec4<f32>, q: vec4<f32>, r: vec4<f32>, s: vec4<f32>) -> Four {
  return Four(
    vec4(p.x, q.x, r.x, s.x),
    vec4(p.y, q.y, r.y, s.y),
    vec4(p.z, q.z, r.z, s.z),
    vec4(p.w, q.w, r.w, s.w),
  );
}

fn a_across(row: u32, k: u32) -> vec4<f32> {
  return a[(params.a_offset + min(k, params.k - 1u) * params.a_stride + row) / 4u];
}

fn a_four(row: u32, k: u32) -> Four {
  if (A_TRANSPOSED) { return Four(a_across(row, k), a_across(row, k + 1u), a_across(row, k + 2u), a_across(row, k + 3u)); }
  return transposed(a_along(row, k), a_along(row + 1u, k), a_along(row + 2u, k), a_along(row + 3u, k));
}

fn b_across(column: u32, k: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(b[(params.b_offset + min(k, params.k - 1u) * params.b_stride + column) / 4u]);
}

fn b_four(column: u32, k: u32) -> Four {
  if (!B_TRANSPOSED) {
    return Four(b_across(column, k), b_across(column, k + 1u), b_across(column, k + 2u), b_across(column, k + 3u));
  }
  return transposed(b_along(column, k), b_along(column + 1u, k), b_along(column + 2u, k), b_along(column + 3u, k));
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = params.first_tile + group.y * groups.x + group.x;
  if (tile >= params.end_tile) { return; }
  let row0 = tile / params.tiles_n * TILE;
  let column0 = tile % params.tiles_n * TILE;
  if (LOWER_ONLY && params.column_origin + column0 > params.row_origin + row0 + TILE - 1u) { return; }
  let row = row0 + lane / 8u * 8u;
  let column = column0 + lane % 8u * 8u;
  if (row >= params.m || column >= params.n) { return; }

  // c<row>_<half>
  var c0_0 = vec4<f32>(); var c0_1 = vec4<f32>(); var c1_0 = vec4<f32>(); var c1_1 = vec4<f32>();
  var c2_0 = vec4<f32>(); var c2_1 = vec4<f32>(); var c3_0 = vec4<f32>(); var c3_1 = vec4<f32>();
  var c4_0 = vec4<f32>(); var c4_1 = vec4<f32>(); var c5_0 = vec4<f32>(); var c5_1 = vec4<f32>();
  var c6_0 = vec4<f32>(); var c6_1 = vec4<f32>(); var c7_0 = vec4<f32>(); var c7_1 = vec4<f32>();
  let whole = params.k / 4u * 4u;
  for (var k = 0u; k < whole; k += 4u) {
    let top = a_four(row, k); let low = a_four(row + 4u, k);
    let left = b_four(column, k); let right = b_four(column + 4u, k);
    c0_0 = fma(vec4(top.x.x), left.x, c0_0); c0_1 = fma(vec4(top.x.x), right.x, c0_1); c1_0 = fma(vec4(top.x.y), left.x, c1_0); c1_1 = fma(vec4(top.x.y), right.x, c1_1);
    c2_0 = fma(vec4(top.x.z), left.x, c2_0); c2_1 = fma(vec4(top.x.z), right.x, c2_1); c3_0 = fma(vec4(top.x.w), left.x, c3_0); c3_1 = fma(vec4(top.x.w), right.x, c3_1);
    c4_0 = fma(vec4(low.x.x), left.x, c4_0); c4_1 = fma(vec4(low.x.x), right.x, c4_1); c5_0 = fma(vec4(low.x.y), left.x, c5_0); c5_1 = fma(vec4(low.x.y), right.x, c5_1);
    c6_0 = fma(vec4(low.x.z), left.x, c6_0); c6_1 = fma(vec4(low.x.z), right.x, c6_1); c7_0 = fma(vec4(low.x.w), left.x, c7_0); c7_1 = fma(vec4(low.x.w), right.x, c7_1);
    c0_0 = fma(vec4(top.y.x), left.y, c0_0); c0_1 = fma(vec4(top.y.x), right.y, c0_1); c1_0 = fma(vec4(top.y.y), left.y, c1_0); c1_1 = fma(vec4(top.y.y), right.y, c1_1);
    c2_0 = fma(vec4(top.y.z), left.y, c2_0); c2_1 = fma(vec4(top.y.z), right.y, c2_1); c3_0 = fma(vec4(top.y.w), left.y, c3_0); c3_1 = fma(vec4(top.y.w), right.y, c3_1);
    c4_0 = fma(vec4(low.y.x), left.y, c4_0); c4_1 = fma(vec4(low.y.x), right.y, c4_1); c5_0 = fma(vec4(low.y.y), left.y, c5_0); c5_1 = fma(vec4(low.y.y), right.y, c5_1);
    c6_0 = fma(vec4(low.y.z), left.y, c6_0); c6_1 = fma(vec4(low.y.z), right.y, c6_1); c7_0 = fma(vec4(low.y.w), left.y, c7_0); c7_1 = fma(vec4(low.y.w), right.y, c7_1);
    c0_0 = fma(vec4(top.z.x), left.z, c0_0); c0_1 = fma(vec4(top.z.x), right.z, c0_1); c1_0 = fma(vec4(top.z.y), left.z, c1_0); c1_1 = fma(vec4(top.z.y), right.z, c1_1);
    c2_0 = fma(vec4(top.z.z), left.z, c2_0); c2_1 = fma(vec4(top.z.z), right.z, c2_1); c3_0 = fma(vec4(top.z.w), left.z, c3_0); c3_1 = fma(vec4(top.z.w), right.z, c3_1);
    c4_0 = fma(vec4(low.z.x), left.z, c4_0); c4_1 = fma(vec4(low.z.x), right.z, c4_1); c5_0 = fma(vec4(low.z.y), left.z, c5_0); c5_1 = fma(vec4(low.z.y), right.z, c5_1);
    c6_0 = fma(vec4(low.z.z), left.z, c6_0); c6_1 = fma(vec4(low.z.z), right.z, c6_1); c7_0 = fma(vec4(low.z.w), left.z, c7_0); c7_1 = fma(vec4(low.z.w), right.z, c7_1);
    c0_0 = fma(vec4(top.w.x), left.w, c0_0); c0_1 = fma(vec4(top.w.x), right.w, c0_1); c1_0 = fma(vec4(top.w.y), left.w, c1_0); c1_1 = fma(vec4(top.w.y), right.w, c1_1);
    c2_0 = fma(vec4(top.w.z), left.w, c2_0); c2_1 = fma(vec4(top.w.z), right.w, c2_1); c3_0 = fma(vec4(top.w.w), left.w, c3_0); c3_1 = fma(vec4(top.w.w), right.w, c3_1);
    c4_0 = fma(vec4(low.w.x), left.w, c4_0); c4_1 = fma(vec4(low.w.x), right.w, c4_1); c5_0 = fma(vec4(low.w.y), left.w, c5_0); c5_1 = fma(vec4(low.w.y), right.w, c5_1);
    c6_0 = fma(vec4(low.w.z), left.w, c6_0); c6_1 = fma(vec4(low.w.z), right.w, c6_1); c7_0 = fma(vec4(low.w.w), left.w, c7_0); c7_1 = fma(vec4(low.w.w), right.w, c7_1);
  }
  if (whole < params.k) {
    let k = whole;
    let top = a_four(row, k); let low = a_four(row + 4u, k);
    let left = b_four(column, k); let right = b_four(column + 4u, k);
    c0_0 = fma(vec4(top.x.x), left.x, c0_0); c0_1 = fma(vec4(top.x.x), right.x, c0_1); c1_0 = fma(vec4(top.x.y), left.x, c1_0); c1_1 = fma(vec4(top.x.y), right.x, c1_1);
    c2_0 = fma(vec4(top.x.z), left.x, c2_0); c2_1 = fma(vec4(top.x.z), right.x, c2_1); c3_0 = fma(vec4(top.x.w), left.x, c3_0); c3_1 = fma(vec4(top.x.w), right.x, c3_1);
    c4_0 = fma(vec4(low.x.x), left.x, c4_0); c4_1 = fma(vec4(low.x.x), right.x, c4_1); c5_0 = fma(vec4(low.x.y), left.x, c5_0); c5_1 = fma(vec4(low.x.y), right.x, c5_1);
    c6_0 = fma(vec4(low.x.z), left.x, c6_0); c6_1 = fma(vec4(low.x.z), right.x, c6_1); c7_0 = fma(vec4(low.x.w), left.x, c7_0); c7_1 = fma(vec4(low.x.w), right.x, c7_1);
    if (k + 1u < params.k) {
      c0_0 = fma(vec4(top.y.x), left.y, c0_0); c0_1 = fma(vec4(top.y.x), right.y, c0_1); c1_0 = fma(vec4(top.y.y), left.y, c1_0); c1_1 = fma(vec4(top.y.y), right.y, c1_1);
      c2_0 = fma(vec4(top.y.z), left.y, c2_0); c2_1 = fma(vec4(top.y.z), right.y, c2_1); c3_0 = fma(vec4(top.y.w), left.y, c3_0); c3_1 = fma(vec4(top.y.w), right.y, c3_1);
      c4_0 = fma(vec4(low.y.x), left.y, c4_0); c4_1 = fma(vec4(low.y.x), right.y, c4_1); c5_0 = fma(vec4(low.y.y), left.y, c5_0); c5_1 = fma(vec4(low.y.y), right.y, c5_1);
      c6_0 = fma(vec4(low.y.z), left.y, c6_0); c6_1 = fma(vec4(low.y.z), right.y, c6_1); c7_0 = fma(vec4(low.y.w), left.y, c7_0); c7_1 = fma(vec4(low.y.w), right.y, c7_1);
    }
    if (k + 2u < params.k) {
      c0_0 = fma(vec4(top.z.x), left.z, c0_0); c0_1 = fma(vec4(top.z.x), right.z, c0_1); c1_0 = fma(vec4(top.z.y), left.z, c1_0); c1_1 = fma(vec4(top.z.y), right.z, c1_1);
      c2_0 = fma(vec4(top.z.z), left.z, c2_0); c2_1 = fma(vec4(top.z.z), right.z, c2_1); c3_0 = fma(vec4(top.z.w), left.z, c3_0); c3_1 = fma(vec4(top.z.w), right.z, c3_1);
      c4_0 = fma(vec4(low.z.x), left.z, c4_0); c4_1 = fma(vec4(low.z.x), right.z, c4_1); c5_0 = fma(vec4(low.z.y), left.z, c5_0); c5_1 = fma(vec4(low.z.y), right.z, c5_1);
      c6_0 = fma(vec4(low.z.z), left.z, c6_0); c6_1 = fma(vec4(low.z.z), right.z, c6_1); c7_0 = fma(vec4(low.z.w), left.z, c7_0); c7_1 = fma(vec4(low.z.w), right.z, c7_1);
    }
  }

  put(row, column, c0_0); put(row, column + 4u, c0_1);
  put(row + 1u, column, c1_0); put(row + 1u, column + 4u, c1_1);
  put(row + 2u, column, c2_0); put(row + 2u, column + 4u, c2_1);
  put(row + 3u, column, c3_0); put(row + 3u, column + 4u, c3_1);
  put(row + 4u, column, c4_0); put(row + 4u, column + 4u, c4_1);
  put(row + 5u, column, c5_0); put(row + 5u, column + 4u, c5_1);
  put(row + 6u, column, c6_0); put(row + 6u, column + 4u, c6_1);
  put(row + 7u, column, c7_0); put(row + 7u, column + 4u, c7_1);
}
