import { randomNormal, seededRandom } from "../random.ts";

/**
 * 2 XᵀX of correlated inputs with a few large columns, damped by a fraction of its mean diagonal, or not at all by 0; (n, n) row-major.
 * @param dead columns whose inputs are all zero
 */
export function correlatedHessian(
  n: number,
  tokens: number,
  dampeningFrac: number,
  dead: readonly number[] = [],
): Float64Array {
  const base = randomNormal(tokens * n, seededRandom(n + tokens));
  const x = base.map((value, index) => {
    const column = index % n;
    if (dead.includes(column)) return 0;
    return (value + (base[index - 1] ?? 0) * 0.7) * (column % 17 === 3 ? 8 : 1);
  });
  const h = new Float64Array(n * n);
  for (let token = 0; token < tokens; token++) {
    for (let i = 0; i < n; i++) {
      const left = 2 * (x[token * n + i] ?? 0);
      for (let j = 0; j < n; j++) h[i * n + j] = (h[i * n + j] ?? 0) + left * (x[token * n + j] ?? 0);
    }
  }
  return dampeningFrac === 0 ? h : damped(h, n, dampeningFrac);
}

/** A Hessian with a fraction of its mean diagonal added to it; dead columns count, and are, 1 before that. */
export function damped(h: Float64Array, n: number, frac: number): Float64Array {
  const mean = h.reduce((sum, value, index) => sum + (index % (n + 1) === 0 ? value || 1 : 0), 0) / n;
  return h.map((value, index) => (index % (n + 1) === 0 ? (value || 1) + frac * mean : value));
}
