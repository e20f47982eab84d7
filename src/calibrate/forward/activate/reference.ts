import type { ActivationFunction, ClampedSwiglu } from "../../../model/decoder-description.ts";

/** Activations in float64: the plain version that the kernel is held against. */
export function referenceActivation(activation: ActivationFunction, x: number): number {
  switch (activation) {
    case "silu":
      return x / (1 + Math.exp(-x));
    case "gelu":
      return 0.5 * x * (1 + erf(x * Math.SQRT1_2));
    case "gelu_tanh":
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case "relu":
      return Math.max(x, 0);
    case "relu2":
      return Math.max(x, 0) ** 2;
  }
}

/** gpt-oss's gated unit in float64. */
export function referenceClampedSwiglu({ alpha, limit }: ClampedSwiglu, gate: number, up: number): number {
  const most = Math.min(gate, limit);
  return (most / (1 + Math.exp(-alpha * most))) * (Math.max(-limit, Math.min(up, limit)) + 1);
}

export interface XieluParameters {
  /** Before the softplus, as checkpoints hold them. */
  readonly alphaP: number;
  readonly alphaN: number;
  readonly beta: number;
  readonly eps: number;
}

/** xIELU (arXiv 2411.13010) as transformers computes it, in float64. */
export function referenceXielu({ alphaP, alphaN, beta, eps }: XieluParameters, x: number): number {
  const softplus = (value: number) => Math.log1p(Math.exp(value));
  if (x > 0) return softplus(alphaP) * x * x + beta * x;
  return (Math.expm1(Math.min(x, eps)) - x) * (beta + softplus(alphaN)) + beta * x;
}

/** Taylor series: exact to 1e-12 for |x| < 4, beyond which erf is ±1 to 2e-8. */
function erf(x: number): number {
  if (Math.abs(x) > 4) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 100; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
