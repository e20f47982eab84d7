// The rewriters by the modifier that names them. To add one: its words in `formats/modifiers`, a folder here, a line below.

import type { RewriterName } from "../formats/modifiers/rewriters.ts";
import type { RewritingModifier } from "../formats/recipe/recipe.ts";
import { awqRewriter } from "./awq/awq-rewriter.ts";
import type { Rewriter } from "./rewriter.ts";
import { smoothQuantRewriter } from "./smoothquant/smoothquant-rewriter.ts";

const REWRITERS: Readonly<Record<RewriterName, Rewriter>> = {
  SmoothQuantModifier: smoothQuantRewriter,
  AWQModifier: awqRewriter,
};

export function rewriterFor({ name }: RewritingModifier): Rewriter {
  return REWRITERS[name];
}
