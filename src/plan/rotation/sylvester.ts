// Products with Sylvester's matrices of powers of two, by additions alone.

/**
 * Multiplies `size` numbers, a power of two, by Sylvester's matrix, in place; with `lanes` so many of them side by side, the
 * numbers of each `lanes` apart. Two stages in each walk over the values.
 */
export function multiplySylvester(values: Float64Array, first: number, size: number, lanes: number): void {
  const length = size * lanes;
  let quarter = lanes;
  if (quarter === 1 && size >= 4) {
    neighbours(values, first, size);
    quarter = 4;
  }
  for (; quarter * 4 <= length; quarter *= 4) fourths(values, first, length, quarter);
  if (quarter < length) halves(values, first, quarter);
}

/** The first two stages of one lane: each four values that follow each other. */
function neighbours(values: Float64Array, first: number, size: number): void {
  for (let at = first; at < first + size; at += 4) {
    const a = values[at] ?? 0;
    const b = values[at + 1] ?? 0;
    const c = values[at + 2] ?? 0;
    const d = values[at + 3] ?? 0;
    values[at] = a + b + (c + d);
    values[at + 1] = a - b + (c - d);
    values[at + 2] = a + b - (c + d);
    values[at + 3] = a - b - (c - d);
  }
}

/** Two stages, of values `quarter` and twice that apart. */
function fourths(values: Float64Array, first: number, length: number, quarter: number): void {
  for (let start = first; start < first + length; start += 4 * quarter) {
    for (let at = start; at < start + quarter; at++) {
      const a = values[at] ?? 0;
      const b = values[at + quarter] ?? 0;
      const c = values[at + 2 * quarter] ?? 0;
      const d = values[at + 3 * quarter] ?? 0;
      values[at] = a + b + (c + d);
      values[at + quarter] = a - b + (c - d);
      values[at + 2 * quarter] = a + b - (c + d);
      values[at + 3 * quarter] = a - b - (c - d);
    }
  }
}

/** The last stage where their number is odd. */
function halves(values: Float64Array, first: number, half: number): void {
  for (let at = first; at < first + half; at++) {
    const a = values[at] ?? 0;
    const b = values[at + half] ?? 0;
    values[at] = a + b;
    values[at + half] = a - b;
  }
}
