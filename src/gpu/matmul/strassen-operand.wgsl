// The seven left or right operands of Strassen's products, as planes one behind the other, of a matrix whose quadrants are its
// even and odd rows by the two halves of its columns. A workgroup takes a pair of rows: it looks for the largest value of each,
// then scales both to it and adds. Columns are scaled by those of the weight: left ones multiplied, right ones divided.
override DTYPE: u32 = 2;
// The activations' operands, else the weight's.
override LEFT: bool = true;

const WORKGROUP = 256u;

struct Params {
  rows: u32,
  // Columns of a half: a multiple of 4.
  half: u32,
  stride: u32,
  offset: u32,
  first_pair: u32,
  end_pair: u32,
  // Word of `row_sizes` for the first row.
  rows_at: u32,
  // Elements from plane to plane.
  plane: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<vec4<u32>>;
// Largest magnitudes as float32 bits.
@group(0) @binding(2) var<storage, read> column_sizes: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> row_sizes: array<u32>;
@group(0) @binding(4) var<storage, read_write> planes: array<vec4<f32>>;

var<workgroup> even_bits: atomic<u32>;
var<workgroup> odd_bits: atomic<u32>;

// Four columns of a row, scaled; zero in the row past the last one.
fn scaled(row: u32, column: u32) -> vec4<f32> {
  if (row >= params.rows) { return vec4(0.0); }
  let four = load_four(params.offset + row * params.stride + column);
  let bits = column_sizes[column / 4u];
  if (LEFT) { return four * powers_of(bits); }
  return four * inverses_of(bits);
}

fn largest_of(one: vec4<f32>, other: vec4<f32>) -> u32 {
  let four = max(bitcast<vec4<u32>>(abs(one)), bitcast<vec4<u32>>(abs(other)));
  return max(max(four.x, four.y), max(four.z, four.w));
}

fn put(plane: u32, at: u32, values: vec4<f32>) {
  planes[(plane * params.plane + at) / 4u] = values;
}

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let pair = params.first_pair + group.y * groups.x + group.x;
  if (pair >= params.end_pair) { return; }
  let even = 2u * pair;
  let odd = even + 1u;
  var largest = vec2<u32>();
  for (var column = lane * 4u; column < params.half; column += WORKGROUP * 4u) {
    let second = column + params.half;
    largest = max(largest, vec2(
      largest_of(scaled(even, column), scaled(even, second)),
      largest_of(scaled(odd, column), scaled(odd, second)),
    ));
  }
  atomicMax(&even_bits, largest.x);
  atomicMax(&odd_bits, largest.y);
  workgroupBarrier();
  let bits = vec4(atomicLoad(&even_bits), atomicLoad(&odd_bits), 0u, 0u);
  let inverses = inverses_of(bits);
  if (lane < 2u) { row_sizes[params.rows_at + even + lane] = select(bits.x, bits.y, lane == 1u); }
  for (var column = lane * 4u; column < params.half; column += WORKGROUP * 4u) {
    let second = column + params.half;
    let x11 = scaled(even, column) * inverses.x;
    let x12 = scaled(even, second) * inverses.x;
    let x21 = scaled(odd, column) * inverses.y;
    let x22 = scaled(odd, second) * inverses.y;
    let at = pair * params.half + column;
    put(0u, at, x11 + x22);
    if (LEFT) {
      put(1u, at, x21 + x22);
      put(2u, at, x11);
      put(3u, at, x22);
      put(4u, at, x11 + x12);
      put(5u, at, x21 - x11);
      put(6u, at, x12 - x22);
    } else {
      // Rows of a weight are columns of the product's right side.
      put(1u, at, x11);
      put(2u, at, x21 - x22);
      put(3u, at, x12 - x11);
      put(4u, at, x22);
      put(5u, at, x11 + x21);
      put(6u, at, x12 + x22);
    }
  }
}
