// B of the first product of a batch of two in one buffer, that of the second in another one.
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> second_b: array<vec4<u32>>;

fn right_words(at: u32) -> vec4<u32> {
  if (product == 0u) { return b[at]; }
  return second_b[at];
}
