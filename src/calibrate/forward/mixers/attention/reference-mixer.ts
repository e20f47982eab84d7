import type { Attention } from "../../../../model/decoder-description.ts";
import { attentionLinears } from "../../../../model/mixers/attention-facts.ts";
import { referenceRotary } from "../../rotary/reference.ts";
import type { MixerSteps, ReferenceMixer } from "../reference-mixer.ts";
import { referenceAttention } from "./reference.ts";

/** Attention from the block's input to the output Linear's, in float64. */
export function referenceAttentionMixer(
  attention: Attention,
  input: Float64Array,
  steps: MixerSteps,
): ReferenceMixer {
  const { heads, kvHeads } = attention;
  const qkv = queriesKeysValues(attention, input, steps);
  const keys = headColumns(attention, qkv, heads, kvHeads);
  const values = headColumns(attention, qkv, heads + kvHeads, kvHeads);
  return { values: referenceAttention(attention, qkv, steps.lengths), cache: { keys, values } };
}

function queriesKeysValues(attention: Attention, input: Float64Array, steps: MixerSteps): Float64Array {
  const { heads, kvHeads, queryNorm, keyNorm, rotary } = attention;
  const projected = attentionLinears(attention.inputs).map((linear) => steps.apply(linear, input));
  const joined = columnsBeside(projected, attention);
  const normed = columnsBeside(
    [
      steps.norm(queryNorm, headColumns(attention, joined, 0, heads)),
      steps.norm(keyNorm, headColumns(attention, joined, heads, kvHeads)),
      headColumns(attention, joined, heads + kvHeads, kvHeads),
    ],
    attention,
  );
  return rotary ? referenceRotary({ ...attention, rotary }, normed, steps.lengths) : normed;
}

/** Columns of `count` heads of a token's queries, keys and values, from head `first`. */
function headColumns(
  { heads, kvHeads, headDim }: Attention,
  qkv: Float64Array,
  first: number,
  count: number,
): Float64Array {
  return qkv.filter((_, index) => {
    const head = Math.floor((index % ((heads + 2 * kvHeads) * headDim)) / headDim);
    return head >= first && head < first + count;
  });
}

/** Queries, keys and values of a token next to each other; one part alone holds all three already. */
function columnsBeside(parts: readonly Float64Array[], { heads, kvHeads, headDim }: Attention): Float64Array {
  const [only, ...others] = parts;
  if (only && others.length === 0) return only;
  const widths = [heads * headDim, kvHeads * headDim, kvHeads * headDim];
  const stride = widths.reduce((sum, width) => sum + width, 0);
  const tokens = (parts[0]?.length ?? 0) / (widths[0] ?? 1);
  const result = new Float64Array(tokens * stride);
  let column = 0;
  for (const [index, width] of widths.entries()) {
    for (let token = 0; token < tokens; token++) {
      const row = parts[index]?.subarray(token * width, (token + 1) * width) ?? [];
      result.set(row, token * stride + column);
    }
    column += width;
  }
  return result;
}
