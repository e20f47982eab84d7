// From logits to the next token, as transformers' generation does: temperature, then top-p.

export interface SamplingOptions {
  /** 0 takes the likeliest token. */
  readonly temperature: number;
  /** The smallest set of tokens that together have this probability. */
  readonly top_p: number;
  readonly seed: number;
}

/** The token with the largest logit; the first of equals, as torch takes it. */
export function greedyToken(logits: Float32Array): number {
  let best = 0;
  for (let index = 1; index < logits.length; index++) {
    if ((logits[index] ?? 0) > (logits[best] ?? 0)) best = index;
  }
  return best;
}

/** Uniform numbers in [0, 1) from a seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Chooses a token; `random` is asked once unless the choice is greedy. */
export function sampleToken(
  logits: Float32Array,
  { temperature, top_p }: Pick<SamplingOptions, "temperature" | "top_p">,
  random: () => number,
): number {
  if (temperature <= 0) return greedyToken(logits);
  const largest = logits[greedyToken(logits)] ?? 0;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const order = Uint32Array.from(weights.keys()).toSorted(
    (a, b) => (weights[b] ?? 0) - (weights[a] ?? 0) || a - b,
  );
  const kept: number[] = [];
  let mass = 0;
  for (const token of order) {
    kept.push(token);
    mass += weights[token] ?? 0;
    if (mass >= top_p * total) break;
  }
  let left = random() * mass;
  for (const token of kept) {
    left -= weights[token] ?? 0;
    if (left < 0) return token;
  }
  return kept.at(-1) ?? 0;
}
