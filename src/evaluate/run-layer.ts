// Runs of onloaded graphs over one sequence: what a run needs beside weights and hidden states.

import type { Tensor } from "onnxruntime-web";
import { maskName, RUN_INPUTS } from "./graph/attention-nodes.ts";
import { HIDDEN_INPUT, HIDDEN_OUTPUT, LOGITS_OUTPUT } from "./graph/decoder-graph.ts";
import type { Engine, Feeds, OnloadedGraph } from "./runtime/engine.ts";
import type { DecoderDescription } from "../model/decoder-description.ts";

/** Large enough to vanish in a softmax, small enough to stay finite after an addition. */
const MASKED = -1e30;

/** Positions of a run of `tokens` tokens after `past` others; causal masks if `windows` names any. */
export function positionFeeds(
  { runtime }: Engine,
  past: number,
  tokens: number,
  windows: readonly (number | null)[] = [],
): Feeds {
  const total = past + tokens;
  return {
    [RUN_INPUTS.position]: new runtime.Tensor("int64", BigInt64Array.of(BigInt(past)), [1]),
    [RUN_INPUTS.lastPosition]: new runtime.Tensor("int32", Int32Array.of(total - 1), [1]),
    [RUN_INPUTS.total]: new runtime.Tensor("int32", Int32Array.of(total), []),
    ...Object.fromEntries(
      windows.map((window) => [
        maskName(window),
        new runtime.Tensor("float32", causalMask(tokens, window), [tokens, tokens]),
      ]),
    ),
  };
}

/** The windows whose masks the decoder's spelled-out attention may ask for. */
export function maskWindows({ layers }: DecoderDescription): (number | null)[] {
  return [...new Set(layers.map(({ attention }) => attention.slidingWindow))];
}

function causalMask(tokens: number, window: number | null): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: tokens * tokens }, (_, index) => {
    const [row, column] = [Math.floor(index / tokens), index % tokens];
    return column <= row && (window === null || row - column < window) ? 0 : MASKED;
  });
}

/** Hidden states (tokens, hidden) of one sequence through a layer. */
export async function runLayer(
  engine: Engine,
  layer: OnloadedGraph,
  hidden: Float32Array<ArrayBuffer>,
  feeds: { readonly hiddenSize: number; readonly positions: Feeds },
): Promise<Float32Array<ArrayBuffer>> {
  const dims = [hidden.length / feeds.hiddenSize, feeds.hiddenSize];
  const outputs = await layer.run({ ...feeds.positions, [HIDDEN_INPUT]: engine.floats(hidden, dims) });
  return floatsOf(outputs[HIDDEN_OUTPUT]);
}

/** Logits (tokens, vocabulary) of hidden states (tokens, hidden). */
export async function runHead(
  engine: Engine,
  head: OnloadedGraph,
  hidden: Float32Array<ArrayBuffer>,
  hiddenSize: number,
): Promise<Float32Array<ArrayBuffer>> {
  const dims = [hidden.length / hiddenSize, hiddenSize];
  const outputs = await head.run({ [HIDDEN_INPUT]: engine.floats(hidden, dims) });
  return floatsOf(outputs[LOGITS_OUTPUT]);
}

/** The values of an output that lies on the CPU; they are copied, and the output is let go. */
export function floatsOf(tensor: Tensor | undefined): Float32Array<ArrayBuffer> {
  if (!(tensor?.data instanceof Float32Array)) throw new Error("Defect: the output is float32");
  const values = tensor.data.slice();
  tensor.dispose();
  return values;
}
