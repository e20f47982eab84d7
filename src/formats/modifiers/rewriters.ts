import { AWQ } from "./awq.ts";
import { SMOOTHQUANT } from "./smoothquant.ts";

/** All modifiers that change weights before any code is chosen. */
export const REWRITERS = [SMOOTHQUANT, AWQ] as const;

export type Rewriter = (typeof REWRITERS)[number];
export type RewriterName = Rewriter["name"];

export function rewriterOf(name: RewriterName): Rewriter {
  return REWRITERS.find((rewriter) => rewriter.name === name) ?? SMOOTHQUANT;
}
