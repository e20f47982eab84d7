// The results of a product out of Strassen's seven, scaled back: an invocation takes two rows and eight columns.
override ACCUMULATE: bool = false;

const WORKGROUP = 256u;

struct Params {
  rows: u32,
  // Columns of a plane: half of the result's, a multiple of 4.
  half: u32,
  stride: u32,
  offset: u32,
  alpha: f32,
  // Words of `row_sizes` for the first row of the left side, and of the right side: multiples of 4.
  left_at: u32,
  right_at: u32,
  // Elements from plane to plane.
  plane: u32,
  first: u32,
  end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> products: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> row_sizes: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;

fn product(plane: u32, at: u32) -> vec4<f32> {
  return products[(plane * params.plane + at) / 4u];
}

// Powers of the magnitudes from a word on, a multiple of 4.
fn powers_at(word: u32) -> vec4<f32> {
  return powers_of(row_sizes[word / 4u]);
}

fn put(row: u32, column: u32, values: vec4<f32>) {
  let index = (params.offset + row * params.stride + column) / 4u;
  let scaled = params.alpha * values;
  if (ACCUMULATE) { c[index] += scaled; } else { c[index] = scaled; }
}

// Of the even and the odd columns of a row.
fn put_row(row: u32, column: u32, even: vec4<f32>, odd: vec4<f32>) {
  let word = params.left_at + row;
  let power = powers_at(word)[word % 4u];
  put(row, column, vec4(even.x, odd.x, even.y, odd.y) * powers_at(params.right_at + column) * power);
  put(row, column + 4u, vec4(even.z, odd.z, even.w, odd.w) * powers_at(params.right_at + column + 4u) * power);
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let place = (params.first + group.y * groups.x + group.x) * WORKGROUP + lane;
  if (place / WORKGROUP >= params.end) { return; }
  let fours = params.half / 4u;
  let row = 2u * (place / fours);
  if (row >= params.rows) { return; }
  let column = 8u * (place % fours);
  let at = place * 4u;
  let m1 = product(0u, at);
  let m2 = product(1u, at);
  let m3 = product(2u, at);
  let m4 = product(3u, at);
  let m5 = product(4u, at);
  let m6 = product(5u, at);
  let m7 = product(6u, at);
  put_row(row, column, (m1 + m7) + (m4 - m5), m3 + m5);
  if (row + 1u < params.rows) { put_row(row + 1u, column, m2 + m4, (m1 + m6) + (m3 - m2)); }
}
