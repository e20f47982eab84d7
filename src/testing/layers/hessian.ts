import { randomNormal, seededRandom } from "../random.ts";

/** 2 XᵀX of correlated inputs with a few large columns, damped by a fraction of its mean diagonal; (n, n) row-major. */
export function correlatedHessian(n: number, tokens: number, dampeningFrac: number): Float64Array {
  const base = randomNormal(tokens * n, seededRandom(n + tokens));
  const x = base.map(
    (value, index) => (value + (base[index - 1] ?? 0) * 0.7) * ((index % n) % 17 === 3 ? 8 : 1),
  );
  const h = new Float64Array(n * n);
  for (let token = 0; token < tokens; token++) {
    for (let i = 0; i < n; i++) {
      const left = 2 * (x[token * n + i] ?? 0);
      for (let j = 0; j < n; j++) h[i * n + j] = (h[i * n + j] ?? 0) + left * (x[token * n + j] ?? 0);
    }
  }
  const mean = h.reduce((sum, value, index) => sum + (index % (n + 1) === 0 ? value : 0), 0) / n;
  for (let i = 0; i < n; i++) h[i * n + i] = (h[i * n + i] ?? 0) + dampeningFrac * mean;
  return h;
}
