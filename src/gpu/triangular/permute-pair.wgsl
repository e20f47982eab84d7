// One half of a symmetric permutation, in place: for an involution s (s(s(i)) = i), element (i, j) of the symmetric
// matrix trades places with (s(i), s(j)). All these trades are disjoint, so every invocation does its own. Only the lower
// triangle is stored; the partner is looked for there. This kernel does the trades between two panels (or within one);
// the element with the smaller linear index does the work.
override WORKGROUP: u32 = 64;
// The second panel is the first one: bound once, since a buffer must not be bound twice for writing.
override SAME: bool = false;

struct Params {
  first_row: u32,
  rows: u32,
  stride: u32,
  other_first_row: u32,
  other_rows: u32,
  other_stride: u32,
  first_local_row: u32,
  end_local_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partner: array<u32>;
@group(0) @binding(2) var<storage, read_write> panel: array<f32>;
@group(0) @binding(3) var<storage, read_write> other: array<f32>;

// x runs over columns, y over rows: one workgroup takes WORKGROUP columns of one row.
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let local_row = params.first_local_row + group.y;
  let row = params.first_row + local_row;
  let column = group.x * WORKGROUP + lane;
  if (local_row >= params.end_local_row || column > row) { return; }
  let a = partner[row];
  let b = partner[column];
  let to_row = max(a, b);
  let to_column = min(a, b);
  // Rows decide the order, then columns; a fixed point has nothing to trade.
  if (to_row < row || (to_row == row && to_column <= column)) { return; }
  if (to_row < params.other_first_row || to_row >= params.other_first_row + params.other_rows) { return; }
  let here = local_row * params.stride + column;
  let there = (to_row - params.other_first_row) * params.other_stride + to_column;
  let value = panel[here];
  if (SAME) {
    panel[here] = panel[there];
    panel[there] = value;
  } else {
    panel[here] = other[there];
    other[there] = value;
  }
}
