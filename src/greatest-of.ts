/**
 * The greatest of the values, or `least` if none is greater. For as many of them as there are samples: spread over the arguments of a call,
 * some ten thousand are more than the stack of a browser's worker holds.
 */
export function greatestOf(values: Iterable<number>, least = -Infinity): number {
  let most = least;
  for (const value of values) if (value > most) most = value;
  return most;
}
