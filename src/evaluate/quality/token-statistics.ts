// What logits say of the tokens that came: statistics of parts of the vocabulary, as graphs give them, put together in
// float64.

/** Sums over tokens that were predicted. */
export interface TokenLosses {
  tokens: number;
  /** Negative log-likelihood of the tokens that came, in nats. */
  loss: number;
}

/** Sums over tokens that two models predicted. */
export interface Divergence {
  tokens: number;
  /** KL(original ‖ model) of the distributions, in nats. */
  kl: number;
  worstKl: number;
  /** Tokens for which both models prefer the same one. */
  equalGreedy: number;
}

/** What one model's logits of a part of the vocabulary come to. */
export interface PartSummary {
  /** The largest logit. */
  readonly largest: number;
  /** Σ exp(logit − largest) */
  readonly sum: number;
  /** The logit of the token that came; null if it is outside of the part. */
  readonly target: number | null;
}

/** The same of two models, and how they differ. */
export interface ComparedPart {
  readonly own: PartSummary;
  readonly other: PartSummary;
  /** Σ exp(other − its largest) · (other − own) */
  readonly difference: number;
  /** The own logit of the token that the other prefers. */
  readonly ownAtOtherBest: number;
}

/** One model's prediction of one token, over the parts of the vocabulary that were added. */
interface Prediction {
  largest: number;
  /** Σ exp(logit − largest) */
  sum: number;
  target: number;
}

/** Predictions of one token by a model and by the one it is compared with. */
export interface ComparedPrediction {
  readonly own: Prediction;
  readonly other: Prediction;
  /** Σ exp(other − its largest) · (other − own) */
  difference: number;
  ownAtOtherBest: number;
}

export function startPrediction(): ComparedPrediction {
  const start = () => ({ largest: -Infinity, sum: 0, target: Number.NaN });
  return { own: start(), other: start(), difference: 0, ownAtOtherBest: -Infinity };
}

/** Adds a part of the vocabulary to one model's prediction. */
export function addPart(prediction: Prediction, { largest, sum, target }: PartSummary): void {
  const before = prediction.largest;
  prediction.largest = Math.max(before, largest);
  prediction.sum =
    prediction.sum * factor(before, prediction.largest) + sum * factor(largest, prediction.largest);
  if (target !== null) prediction.target = target;
}

/** Adds a part of the vocabulary to both models' predictions. */
export function addComparedPart(prediction: ComparedPrediction, part: ComparedPart): void {
  const before = prediction.other.largest;
  if (part.other.largest > before) prediction.ownAtOtherBest = part.ownAtOtherBest;
  addPart(prediction.own, part.own);
  addPart(prediction.other, part.other);
  const { largest } = prediction.other;
  prediction.difference =
    prediction.difference * factor(before, largest) + part.difference * factor(part.other.largest, largest);
}

/** Negative log-likelihood of the token that came, in nats. */
export function lossOf({ largest, sum, target }: Prediction): number {
  return largest + Math.log(sum) - target;
}

/** KL(other ‖ own) = Σ p (log p − log q), p and q after their softmax, in nats; rounding may bring it below 0. */
export function divergenceOf({ own, other, difference }: ComparedPrediction): number {
  const logSum = (of: Prediction) => of.largest + Math.log(of.sum);
  return Math.max(0, difference / other.sum - logSum(other) + logSum(own));
}

/** True if the model prefers the token that the other prefers. */
export function isEqualGreedy({ own, ownAtOtherBest }: ComparedPrediction): boolean {
  return ownAtOtherBest === own.largest;
}

/** exp(from − to), and 0 for the largest of nothing. */
function factor(from: number, to: number): number {
  return from === -Infinity ? 0 : Math.exp(from - to);
}

export interface Totals {
  readonly model: TokenLosses;
  readonly original: TokenLosses | null;
  readonly divergence: Divergence | null;
}

/** Sums over all tokens. */
export function totalsOf(predictions: readonly ComparedPrediction[], compared: boolean): Totals {
  const tokens = predictions.length;
  const sum = (of: (prediction: ComparedPrediction) => number) =>
    predictions.reduce((total, prediction) => total + of(prediction), 0);
  return {
    model: { tokens, loss: sum(({ own }) => lossOf(own)) },
    original: compared ? { tokens, loss: sum(({ other }) => lossOf(other)) } : null,
    divergence: compared
      ? {
          tokens,
          kl: sum(divergenceOf),
          worstKl: predictions.reduce((worst, each) => Math.max(worst, divergenceOf(each)), 0),
          equalGreedy: sum((each) => Number(isEqualGreedy(each))),
        }
      : null,
  };
}
