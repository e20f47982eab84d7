// The seven left or right operands of Strassen's products, as planes one behind the other, of a matrix whose quadrants are its
// even and odd rows by the two halves of its columns. Columns are scaled by those of the weight, left ones multiplied, right ones
// divided, then rows by their own largest values. A plane lies k-major, a row of it for each column of the matrix, which products read
// fastest: an invocation takes four columns of four pairs of rows, and turns them over in its registers.
override DTYPE: u32 = 2;
// The activations' operands, else the weight's.
override LEFT: bool = true;

// Fours of pairs beside each other are written together, fours of columns read together.
const PAIRS_WIDE = 8u;
const COLUMNS_WIDE = 32u;

struct Params {
  rows: u32,
  // Columns of a half: a multiple of 4.
  half: u32,
  stride: u32,
  offset: u32,
  // Of PAIRS_WIDE fours of pairs each.
  first_block: u32,
  end_block: u32,
  // Blocks of COLUMNS_WIDE fours of columns.
  column_blocks: u32,
  // Word of `row_sizes` for the first row.
  rows_at: u32,
  // Elements from row to row of a plane: pairs up to a multiple of 4.
  plane_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<vec4<u32>>;
// Largest magnitudes as float32 bits.
@group(0) @binding(2) var<storage, read> column_sizes: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> row_sizes: array<u32>;
@group(0) @binding(4) var<storage, read_write> planes: array<vec4<f32>>;

// Four columns of each quadrant in a pair of rows.
struct Quadrants {
  x11: vec4<f32>,
  x12: vec4<f32>,
  x21: vec4<f32>,
  x22: vec4<f32>,
}

fn quadrants(pair: u32, column: u32) -> Quadrants {
  let even = 2u * pair;
  let odd = even + 1u;
  let second = column + params.half;
  var bits = vec4<u32>();
  if (even < params.rows) { bits.x = row_sizes[params.rows_at + even]; }
  if (odd < params.rows) { bits.y = row_sizes[params.rows_at + odd]; }
  let inverses = inverses_of(bits);
  return Quadrants(
    scaled_four(even, column) * inverses.x,
    scaled_four(even, second) * inverses.x,
    scaled_four(odd, column) * inverses.y,
    scaled_four(odd, second) * inverses.y,
  );
}

// What four pairs have in four columns goes to a plane, turned over.
fn put(plane: u32, column: u32, pair: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) {
  let step = params.plane_stride / 4u;
  let at = ((plane * params.half + column) * params.plane_stride + pair) / 4u;
  planes[at] = vec4(a.x, b.x, c.x, d.x);
  planes[at + step] = vec4(a.y, b.y, c.y, d.y);
  planes[at + 2u * step] = vec4(a.z, b.z, c.z, d.z);
  planes[at + 3u * step] = vec4(a.w, b.w, c.w, d.w);
}

@compute @workgroup_size(PAIRS_WIDE, COLUMNS_WIDE)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) id: vec3<u32>,
) {
  let index = group.y * groups.x + group.x;
  let block = params.first_block + index / params.column_blocks;
  let pair = (block * PAIRS_WIDE + id.x) * 4u;
  let column = (index % params.column_blocks * COLUMNS_WIDE + id.y) * 4u;
  if (block >= params.end_block || pair >= params.plane_stride || column >= params.half) { return; }
  let a = quadrants(pair, column);
  let b = quadrants(pair + 1u, column);
  let c = quadrants(pair + 2u, column);
  let d = quadrants(pair + 3u, column);
  put(0u, column, pair, a.x11 + a.x22, b.x11 + b.x22, c.x11 + c.x22, d.x11 + d.x22);
  if (LEFT) {
    put(1u, column, pair, a.x21 + a.x22, b.x21 + b.x22, c.x21 + c.x22, d.x21 + d.x22);
    put(2u, column, pair, a.x11, b.x11, c.x11, d.x11);
    put(3u, column, pair, a.x22, b.x22, c.x22, d.x22);
    put(4u, column, pair, a.x11 + a.x12, b.x11 + b.x12, c.x11 + c.x12, d.x11 + d.x12);
    put(5u, column, pair, a.x21 - a.x11, b.x21 - b.x11, c.x21 - c.x11, d.x21 - d.x11);
    put(6u, column, pair, a.x12 - a.x22, b.x12 - b.x22, c.x12 - c.x22, d.x12 - d.x22);
  } else {
    // Rows of a weight are columns of the product's right side.
    put(1u, column, pair, a.x11, b.x11, c.x11, d.x11);
    put(2u, column, pair, a.x21 - a.x22, b.x21 - b.x22, c.x21 - c.x22, d.x21 - d.x22);
    put(3u, column, pair, a.x12 - a.x11, b.x12 - b.x11, c.x12 - c.x11, d.x12 - d.x11);
    put(4u, column, pair, a.x22, b.x22, c.x22, d.x22);
    put(5u, column, pair, a.x11 + a.x21, b.x11 + b.x21, c.x11 + c.x21, d.x11 + d.x21);
    put(6u, column, pair, a.x12 + a.x22, b.x12 + b.x22, c.x12 + c.x22, d.x12 + d.x22);
  }
}
