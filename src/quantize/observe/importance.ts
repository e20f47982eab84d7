// How much each input column counts for the observer imatrix_mse: the mean square of what the calibration samples put into
// it, as LLM Compressor has it in observers/imatrix.py.

/**
 * Σx² of each column, in any unit, over its mean, so that the importance is 1 on average. Where nothing was seen, or nothing
 * but zeros, all columns count alike, as in LLM Compressor.
 */
export function importanceOf(squares: Float32Array): Float32Array<ArrayBuffer> {
  const mean = squares.reduce((sum, value) => sum + value, 0) / squares.length;
  return Float32Array.from(squares, (value) => (mean > 0 ? value / mean : 1));
}
