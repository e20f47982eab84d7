// B of a product, or of all products of a batch, in one buffer.
@group(0) @binding(2) var<storage, read> b: array<vec4<u32>>;

fn right_words(at: u32) -> vec4<u32> {
  return b[at];
}
