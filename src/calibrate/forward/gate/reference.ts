/** x · f(gate), value by value, in float64: the plain version that the kernel is held against. */
export function referenceGate(
  x: ArrayLike<number>,
  gate: ArrayLike<number>,
  f: "sigmoid" | "silu",
): Float64Array<ArrayBuffer> {
  return new Float64Array(x).map((value, index) => {
    const z = gate[index] ?? 0;
    const factor = 1 / (1 + Math.exp(-z));
    return value * (f === "silu" ? z * factor : factor);
  });
}
