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
      "Scales up the columns of weights that large activations meet, so that rounding spares them. For 4-bit weights, most of all with zero points; takes about as long as GPTQ, and longer for experts.",
  },
  { quantizer: GPTQ, rewriter: null, title: GPTQ.title, sentence: GPTQ.sentence },
  {
    quantizer: GPTQ,
    rewriter: SMOOTHQUANT.name,
    title: `${SMOOTHQUANT.title} + ${GPTQ.title}`,
    sentence:
      "First moves what is large in a few channels of the activations into the weights, then does GPTQ. For schemes with 8-bit activations, such as W8A8; takes one more run of the text than GPTQ.",
  },
];
