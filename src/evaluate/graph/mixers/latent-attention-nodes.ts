// Attention whose keys and values come from one latent, spelled out: the heads' own parts of the keys and the part that they
// share meet the queries in a product each.

import type { Value } from "../encode-model.ts";
import { applyLinear } from "../linear-nodes.ts";
import { normalize } from "../norm-nodes.ts";
import { FULL_MASK, maskName } from "../run-inputs.ts";
import type { DecoderGraph } from "../weight-input.ts";
import { type MixerNodes, wholeSequenceNodes } from "./mixer-nodes.ts";
import { rotate } from "./rotary-nodes.ts";
import type { LatentAttention } from "../../../model/mixer-description.ts";

export function latentAttentionNodes(mixer: LatentAttention): MixerNodes {
  return wholeSequenceNodes({
    mask: FULL_MASK,
    apply: (decoder, x) => attendLatent(decoder, mixer, x),
  });
}

function attendLatent(decoder: DecoderGraph, mixer: LatentAttention, x: Value): Value {
  const { graph } = decoder;
  const { heads, headDim, rotaryDim, valueDim, rank, rotary, scale } = mixer;
  const ownDim = headDim - rotaryDim;
  const split = (value: Value, widths: number[], axis: number) =>
    graph.nodes("Split", [value, graph.integers(widths)], 2, { axis: { int: axis } });
  const perHead = (value: Value, size: number) =>
    graph.node("Reshape", [value, graph.integers([-1, heads, size])]);
  const turn = (value: Value, perm: number[]) => graph.node("Transpose", [value], { perm: { ints: perm } });
  const rotated = (value: Value, count: number) =>
    rotate(decoder, { rotary, temperature: null }, value, count, rotaryDim);

  const [own = "", turned = ""] = split(
    perHead(queriesOf(decoder, mixer, x), headDim),
    [ownDim, rotaryDim],
    2,
  );
  const flat = graph.node("Reshape", [turned, graph.integers([-1, heads * rotaryDim])]);
  const positioned = perHead(rotated(flat, heads), rotaryDim);
  const down = applyLinear(decoder, mixer.keyValueDown, x);
  const [latent = "", shared = ""] = split(down, [rank, rotaryDim], 1);
  const up = applyLinear(decoder, mixer.keyValueUp, normalize(decoder, mixer.keyValueNorm, latent, rank));
  const [keys = "", values = ""] = split(perHead(up, ownDim + valueDim), [ownDim, valueDim], 2);

  const ownScores = graph.node("MatMul", [turn(own, [1, 0, 2]), turn(keys, [1, 2, 0])]);
  const sharedKeys = graph.node("Unsqueeze", [turn(rotated(shared, 1), [1, 0]), graph.integers([0])]);
  const sharedScores = graph.node("MatMul", [turn(positioned, [1, 0, 2]), sharedKeys]);
  const scores = graph.node("Mul", [graph.node("Add", [ownScores, sharedScores]), graph.floats(scale)]);
  const mask = graph.input(maskName(FULL_MASK), "float32", ["tokens", "tokens"]);
  const weights = graph.node("Softmax", [graph.node("Add", [scores, mask])], { axis: { int: -1 } });
  const attended = turn(graph.node("MatMul", [weights, turn(values, [1, 0, 2])]), [1, 0, 2]);
  return applyLinear(
    decoder,
    mixer.output,
    graph.node("Reshape", [attended, graph.integers([-1, heads * valueDim])]),
  );
}

function queriesOf(decoder: DecoderGraph, { query }: LatentAttention, x: Value): Value {
  if (query.kind === "direct") return applyLinear(decoder, query.linear, x);
  const { down, norm, up } = query;
  return applyLinear(decoder, up, normalize(decoder, norm, applyLinear(decoder, down, x), down.rows));
}
