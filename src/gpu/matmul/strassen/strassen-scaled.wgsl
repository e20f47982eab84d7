// A matrix with its columns scaled by those of the weight.

// Four columns of a row; zero in rows past the last one.
fn scaled_four(row: u32, column: u32) -> vec4<f32> {
  if (row >= params.rows) { return vec4(0.0); }
  let four = load_four(params.offset + row * params.stride + column);
  let bits = column_sizes[column / 4u];
  if (LEFT) { return four * powers_of(bits); }
  return four * inverses_of(bits);
}
