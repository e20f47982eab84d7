import { SMOOTHQUANT } from "./smoothquant.ts";

/** All modifiers that change weights before any code is chosen. */
export const REWRITERS = [SMOOTHQUANT] as const;

export type Rewriter = (typeof REWRITERS)[number];
export type RewriterName = Rewriter["name"];
