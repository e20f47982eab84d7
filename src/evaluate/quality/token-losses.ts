// What logits say of the next token, in float64 on the CPU.

/** Sums over tokens that were predicted. */
export interface TokenLosses {
  tokens: number;
  /** Negative log-likelihood of the tokens that came, in nats. */
  loss: number;
}

/** Sums over tokens that two models predicted. */
export interface Divergence {
  tokens: number;
  /** KL(original ‖ quantized) of the distributions, in nats. */
  kl: number;
  worstKl: number;
  /** Tokens for which both models prefer the same one. */
  equalGreedy: number;
}

export function noLosses(): TokenLosses {
  return { tokens: 0, loss: 0 };
}

export function noDivergence(): Divergence {
  return { tokens: 0, kl: 0, worstKl: 0, equalGreedy: 0 };
}

/** Adds the losses of rows of logits (rows, vocabulary), of which row i is followed by `targets[i]`. */
export function addLosses(losses: TokenLosses, logits: Float32Array, targets: readonly number[]): void {
  const vocabulary = logits.length / targets.length;
  for (const [row, target] of targets.entries()) {
    const values = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
    losses.loss += logSumExp(values) - (values[target] ?? 0);
    losses.tokens++;
  }
}

/** Adds how far the second model's distributions are from the first's; both (rows, vocabulary). */
export function addDivergence(
  divergence: Divergence,
  original: Float32Array,
  quantized: Float32Array,
  rows: number,
): void {
  const vocabulary = original.length / rows;
  for (let row = 0; row < rows; row++) {
    const p = original.subarray(row * vocabulary, (row + 1) * vocabulary);
    const q = quantized.subarray(row * vocabulary, (row + 1) * vocabulary);
    const kl = Math.max(0, klDivergence(p, q));
    divergence.kl += kl;
    divergence.worstKl = Math.max(divergence.worstKl, kl);
    divergence.equalGreedy += Number(greedyToken(p) === greedyToken(q));
    divergence.tokens++;
  }
}

function klDivergence(p: Float32Array, q: Float32Array): number {
  const [normP, normQ] = [logSumExp(p), logSumExp(q)];
  let kl = 0;
  for (let index = 0; index < p.length; index++) {
    const logP = (p[index] ?? 0) - normP;
    kl += Math.exp(logP) * (logP - ((q[index] ?? 0) - normQ));
  }
  return kl;
}

export function logSumExp(values: Float32Array): number {
  let largest = -Infinity;
  for (const value of values) if (value > largest) largest = value;
  let sum = 0;
  for (const value of values) sum += Math.exp(value - largest);
  return largest + Math.log(sum);
}

/** The token with the largest logit; the first of equals, as torch takes it. */
export function greedyToken(logits: Float32Array): number {
  let best = 0;
  for (let index = 1; index < logits.length; index++) {
    if ((logits[index] ?? 0) > (logits[best] ?? 0)) best = index;
  }
  return best;
}
