// Holds a description against the checkpoint: a tensor that is not expected is a computation that is not described.

import { MalformedModelError, UnsupportedModelError } from "../errors.ts";
import type { TensorSpec } from "../formats/safetensors/safetensors.ts";
import { DATA_FREE_HINT } from "./parts/config-fields.ts";
import type { Activation, DecoderDescription, FeedForward, LayerDescription } from "./decoder-description.ts";
import { layerLinears, mlpsOf } from "./layer-linears.ts";
import { factsOf } from "./mixers/facts-of.ts";
import { normTensors, type TensorShape, vectorShape } from "./norm-tensors.ts";

/** Tables that old checkpoints carry and that are computed anew. */
const COMPUTED = /\.rotary_emb\.inv_freq$|\.masked_bias$|\.(attn|attention)\.bias$/;

/** Tensors that the description reads, with the shapes that they must have. */
export function describedTensors(description: DecoderDescription): Map<string, readonly number[]> {
  const { embedding, vocabSize, hiddenSize, head, finalNorm, layers, tokenInputs } = description;
  const shapes = new Map<string, readonly number[]>([[embedding.tensor, [vocabSize, hiddenSize]]]);
  shapes.set(head.linear.source.tensor, head.linear.source.shape);
  if (head.linear.bias !== null) shapes.set(head.linear.bias, [vocabSize]);
  if (tokenInputs) {
    const { table, projection } = tokenInputs;
    shapes.set(table.tensor, [vocabSize, projection.rows]);
    shapes.set(projection.source.tensor, projection.source.shape);
  }
  const norms = [finalNorm, tokenInputs?.norm ?? null].flatMap(normTensors);
  for (const [name, shape] of [...norms, ...layers.flatMap(layerTensors)]) {
    shapes.set(name, shape);
  }
  return shapes;
}

function layerTensors(layer: LayerDescription): readonly TensorShape[] {
  const { norms, mixers, feedForward, outputScale, tokenBlock } = layer;
  const linears = layerLinears(layer).flatMap(({ source, bias, biasPlace, rows }): TensorShape[] => [
    [source.tensor, source.shape],
    ...(bias === null ? [] : [[bias, biasPlace?.shape ?? [rows]] as const]),
  ]);
  return [
    ...linears,
    ...Object.values(norms).flatMap(normTensors),
    ...mixers.flatMap((mixer) => factsOf(mixer).vectors),
    ...(feedForward ? feedForwardTensors(feedForward) : []),
    ...(outputScale === null ? [] : [vectorShape(outputScale, 1)]),
    ...normTensors(tokenBlock?.norm ?? null),
  ];
}

/** What a feed-forward reads beside its Linears: parameters of activations, the router's vectors, norms inside of it. */
function feedForwardTensors(block: FeedForward): readonly TensorShape[] {
  const activations = mlpsOf(block).flatMap(({ activation }) => activationTensors(activation));
  if (block.kind === "mlp") return activations;
  const { correction, expertScales, apart, experts } = block;
  const vectors = [correction, expertScales].filter((name) => typeof name === "string");
  const norms = apart ? [apart.router.norm, apart.sharedInput, apart.sharedOutput, apart.output] : [];
  return [
    ...activations,
    ...vectors.map((name) => vectorShape(name, experts.length)),
    ...norms.flatMap(normTensors),
  ];
}

function activationTensors(activation: Activation): readonly TensorShape[] {
  if (typeof activation === "string" || activation.kind === "clamped-swiglu") return [];
  const { alphaP, alphaN, beta, eps } = activation;
  return [alphaP, alphaN, beta, eps].map((name) => vectorShape(name, 1));
}

/**
 * Checks that the checkpoint has every tensor that the description reads, and none in its layers that it does not.
 * @throws UnsupportedModelError naming the tensor.
 */
export function checkNames(description: DecoderDescription, names: ReadonlySet<string>): void {
  const described = describedTensors(description);
  for (const name of described.keys()) {
    if (!names.has(name)) {
      throw new UnsupportedModelError(
        `The checkpoint lacks the tensor "${name}", which a model of type ${description.family} with this config.json has. ${DATA_FREE_HINT}`,
      );
    }
  }
  const layers = new Set(description.layers.map(({ name }) => name));
  const unread = new Set(description.layers.flatMap((layer) => layer.unread));
  for (const name of names) {
    if (described.has(name) || COMPUTED.test(name) || unread.has(name)) continue;
    const layer = /^(.*?(?:layers|\bh)\.\d+)\./.exec(name)?.[1];
    if (layer !== undefined && layers.has(layer)) {
      throw new UnsupportedModelError(
        `The tensor "${name}" does not belong to a model of type ${description.family} as calibration knows it; leaving it out would give wrong statistics. ${DATA_FREE_HINT}`,
      );
    }
  }
}

/**
 * Checks the shapes of the tensors that the description reads.
 * @throws MalformedModelError if a shape disagrees with config.json.
 * @throws UnsupportedModelError for stacked experts that lie transposed.
 */
export function checkShapes(description: DecoderDescription, tensors: Iterable<TensorSpec>): void {
  const described = describedTensors(description);
  for (const { name, shape } of tensors) {
    const expected = described.get(name);
    if (!expected || sameShape(shape, expected)) continue;
    if (sameShape(shape, expected.toSpliced(1, 2, expected[2] ?? 0, expected[1] ?? 0))) {
      throw new UnsupportedModelError(
        `The tensor "${name}" holds its experts transposed, as [${shape.join(", ")}] instead of [${expected.join(", ")}], which calibration cannot read. ${DATA_FREE_HINT}`,
      );
    }
    throw new MalformedModelError(
      `The tensor "${name}" has the shape [${shape.join(", ")}], but config.json makes it [${expected.join(", ")}]. Are both files of one model?`,
    );
  }
}

/** Equal, leading dimensions of norms per head flattened. */
function sameShape(shape: readonly number[], expected: readonly number[]): boolean {
  if (expected.length === 1) return shape.reduce((product, size) => product * size, 1) === expected[0];
  return shape.length === expected.length && shape.every((size, index) => size === expected[index]);
}
