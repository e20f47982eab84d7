// The ways to choose codes that the page offers: a quantizer, alone or behind what prepares weights for it.

import { AWQ } from "./awq.ts";
import { GPTQ } from "./gptq.ts";
import type { Quantizer } from "./quantizers.ts";
import type { RewriterName } from "./rewriters.ts";
import { ROUNDING } from "./rounding.ts";
import { SMOOTHQUANT } from "./smoothquant.ts";

export interface Method {
  readonly quantizer: Quantizer;
  readonly rewriter: RewriterName | null;
  readonly title: string;
  /** What it is for and what it costs. */
  readonly sentence: string;
}

export const METHODS: readonly Method[] = [
  { quantizer: ROUNDING, rewriter: null, title: ROUNDING.title, sentence: ROUNDING.sentence },
  {
    quantizer: ROUNDING,
    rewriter: AWQ.name,
    title: AWQ.title,
    sentence:
      "Scales up the columns of weights that meet large activations, so that rounding harms them less. For 4-bit weights, above all with zero points. Takes about as long as GPTQ, and longer for experts.",
  },
  { quantizer: GPTQ, rewriter: null, title: GPTQ.title, sentence: GPTQ.sentence },
  {
    quantizer: GPTQ,
    rewriter: SMOOTHQUANT.name,
    title: `${SMOOTHQUANT.title} + ${GPTQ.title}`,
    sentence:
      "First moves the outliers of a few activation channels into the weights, then applies GPTQ. For schemes with 8-bit activations, such as W8A8. Runs the text through the model once more than GPTQ does.",
  },
];
