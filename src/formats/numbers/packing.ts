// Little-endian bit streams of compressed-tensors (`compressors/pack_quantized/helpers.py`), in plain TypeScript: the
// reference of the packing kernel, and what reads packed tensors back.

/**
 * Packs codes of `bits` each: code j takes the bits j·b … j·b+b−1 of the stream, bit 0 first; a code may straddle words.
 * `offset` is added first (2^(b−1) in pack-quantized). The tail of the last word is zero.
 */
export function packStream(codes: ArrayLike<number>, bits: number, offset: number): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil((codes.length * bits) / 32));
  const mask = 2 ** bits - 1;
  for (let index = 0; index < codes.length; index++) {
    const stored = (((codes[index] ?? 0) + offset) & mask) >>> 0;
    const position = index * bits;
    const word = position >>> 5;
    const shift = position & 31;
    words[word] = (words[word] ?? 0) | (stored << shift);
    if (shift + bits > 32) words[word + 1] = stored >>> (32 - shift);
  }
  return words;
}

/** Reads `count` codes back; the inverse of packStream. */
export function unpackStream(words: Uint32Array, bits: number, offset: number, count: number): Int32Array {
  const mask = 2 ** bits - 1;
  const codes = new Int32Array(count);
  for (let index = 0; index < count; index++) {
    const position = index * bits;
    const word = position >>> 5;
    const shift = position & 31;
    const low = (words[word] ?? 0) >>> shift;
    const high = shift + bits > 32 ? (words[word + 1] ?? 0) << (32 - shift) : 0;
    codes[index] = ((low | high) & mask) - offset;
  }
  return codes;
}
