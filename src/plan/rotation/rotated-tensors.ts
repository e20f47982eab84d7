// A model whose hidden states are rotated, as one more set of plain tensors (SpinQuant's R1 and R2, arXiv 2405.16406): the
// norms' weights go into the Linears behind them, and each Linear that reads or writes the residual stream is multiplied by
// the rotation. What the model computes stays the same but for rounding; what is large in a few channels is spread over all.
//
// With hidden states x R instead of x, and g a norm's weight: Linears that read them become W diag(g) R, those that write
// them Rᵀ W with bias b R, the embedding E R, the head W diag(g) R, untied from the embedding. R2 does the same inside of
// each head, between values and the output Linear.

import { UnsupportedModelError } from "../../errors.ts";
import type { FusedRotation } from "../../formats/modifiers/spinquant.ts";
import { isFloatDtype } from "../../formats/numbers/dtype.ts";
import type { DecoderDescription } from "../../model/decoder-description.ts";
import { feedForwardLinears, mlpsOf } from "../../model/layer-linears.ts";
import { factsOf } from "../../model/mixers/facts-of.ts";
import type { SourceTensor } from "../checkpoint/read-headers.ts";
import type { Linear, Norm } from "../../model/weight-description.ts";
import type { Attention } from "../../model/mixer-description.ts";

/** Files of tensors that no file holds as they are: "rotated:model.layers.0.self_attn.q_proj.weight". */
const PREFIX = "rotated:";

export interface RotationOptions {
  readonly rotations: readonly FusedRotation[];
  /** Seed of random signs; null for none. */
  readonly seed: number | null;
}

/** What a rotation multiplies: values of a row or column, `blocks` runs of `size` from `first` on. */
export interface RotatedRun {
  readonly rotation: FusedRotation;
  readonly first: number;
  readonly size: number;
  readonly blocks: number;
}

/** A norm's weight that is multiplied into the columns behind it. */
export interface FoldedNorm {
  readonly weight: SourceTensor;
  readonly offset: number;
}

/** A tensor that is made of another one; each of its matrices is (rows, columns), and a vector is one row. */
export interface RotatedTensor {
  readonly source: SourceTensor;
  readonly rows: number;
  readonly columns: number;
  readonly norm: FoldedNorm | null;
  /** What each row is multiplied by. */
  readonly byColumn: RotatedRun | null;
  /** What each column is multiplied by, transposed. */
  readonly byRow: RotatedRun | null;
}

/** A norm's weight after it was folded: the same value everywhere. */
export interface ConstantTensor {
  readonly source: SourceTensor;
  readonly value: number;
}

export interface RotatedTensors {
  /** What the rotations are made with; see `createRotation`. */
  readonly seed: number | null;
  readonly tensors: readonly SourceTensor[];
  /** What each virtual file is made of. */
  readonly rotated: ReadonlyMap<string, RotatedTensor | ConstantTensor>;
  /** Bytes of the head if it was the embedding's table and has become a tensor of its own; else 0. */
  readonly untiedBytes: number;
}

type Change = Partial<Pick<RotatedTensor, "norm" | "byColumn" | "byRow">> | { readonly value: number };

/**
 * The tensors of a rotated model, and how they are read.
 * @throws UnsupportedModelError if the model computes something between its Linears that no rotation passes.
 */
export function rotatedTensors(
  tensors: readonly SourceTensor[],
  description: DecoderDescription,
  { rotations, seed }: RotationOptions,
): RotatedTensors {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const changes = new Map<string, Change>();
  if (rotations.includes("R1")) {
    checkRotatable(description, tensors);
    rotateResidual(description, byName, changes);
  }
  if (rotations.includes("R2")) {
    for (const attention of rotatableAttention(description)) rotateHeads(attention, changes);
  }
  const rotated = new Map<string, RotatedTensor | ConstantTensor>();
  const result = tensors.map((tensor) => {
    const change = changes.get(tensor.name);
    return change ? derive(tensor, change, rotated) : tensor;
  });
  const head =
    rotations.includes("R1") && description.head.tied ? untiedHead(description, byName, rotated) : null;
  return {
    seed,
    tensors: head ? [...result, head] : result,
    rotated,
    untiedBytes: head ? head.end - head.start : 0,
  };
}

/** Every tensor that reads or writes the residual stream. */
function rotateResidual(
  { hiddenSize, embedding, layers, finalNorm, head }: DecoderDescription,
  byName: ReadonlyMap<string, SourceTensor>,
  changes: Map<string, Change>,
): void {
  const run: RotatedRun = { rotation: "R1", first: 0, size: hiddenSize, blocks: 1 };
  const reads = (linear: Linear, norm: Norm | null) =>
    merge(changes, linear.source.tensor, { byColumn: run, norm: norm && folded(norm, byName) });
  const writes = ({ source, bias }: Linear) => {
    merge(changes, source.tensor, { byRow: run });
    if (bias !== null) merge(changes, bias, { byColumn: run });
  };
  changes.set(embedding.tensor, { byColumn: run });
  for (const { norms, mixers, feedForward } of layers) {
    const facts = mixers.map(factsOf);
    for (const linear of facts.flatMap(({ inputs }) => inputs[0] ?? [])) reads(linear, norms.mixerInput);
    const downs = feedForward === null ? [] : mlpsOf(feedForward).map(({ down }) => down);
    const readers = feedForwardLinears(feedForward).filter((linear) => !downs.includes(linear));
    for (const linear of readers) reads(linear, norms.feedForwardInput ?? norms.mixerInput);
    for (const linear of [...facts.map(({ output }) => output), ...downs]) writes(linear);
    for (const norm of [norms.mixerInput, norms.feedForwardInput]) if (norm) becomeOne(norm, changes);
  }
  if (!head.tied) reads(head.linear, finalNorm);
  becomeOne(finalNorm, changes);
}

/** Values and what the output Linear reads, head by head. */
function rotateHeads(attention: Attention, changes: Map<string, Change>): void {
  const { inputs, output, heads, kvHeads, headDim, valueDim: size } = attention;
  if (inputs.kind === "query") return;
  const linear = inputs.kind === "fused" ? inputs.queryKeyValue : inputs.value;
  const first = linear.source.firstRow + (inputs.kind === "fused" ? (heads + kvHeads) * headDim : 0);
  const run: RotatedRun = { rotation: "R2", first, size, blocks: kvHeads };
  merge(changes, linear.source.tensor, { byRow: run });
  if (linear.bias !== null) {
    merge(changes, linear.bias, { byColumn: { ...run, first: first - linear.source.firstRow } });
  }
  merge(changes, output.source.tensor, { byColumn: { rotation: "R2", first: 0, size, blocks: heads } });
}

function merge(changes: Map<string, Change>, name: string, change: Change): void {
  changes.set(name, { ...changes.get(name), ...change });
}

function becomeOne({ weight, weightOffset }: Norm, changes: Map<string, Change>): void {
  if (weight !== null) changes.set(weight, { value: 1 - weightOffset });
}

function folded(
  { weight, weightOffset }: Norm,
  byName: ReadonlyMap<string, SourceTensor>,
): FoldedNorm | null {
  const tensor = weight === null ? undefined : byName.get(weight);
  return tensor ? { weight: tensor, offset: weightOffset } : null;
}

function derive(
  source: SourceTensor,
  change: Change,
  rotated: Map<string, RotatedTensor | ConstantTensor>,
): SourceTensor {
  const file = `${PREFIX}${source.name}`;
  if (!isFloatDtype(source.dtype)) {
    throw new UnsupportedModelError(
      `${source.name} has the dtype ${source.dtype}; only BF16, F16 and F32 can be rotated. Leave the rotation out of the recipe.`,
    );
  }
  rotated.set(file, "value" in change ? { source, ...change } : rotatedTensor(source, change));
  return { ...source, file, start: 0, end: source.end - source.start };
}

function rotatedTensor(
  source: SourceTensor,
  { norm = null, byColumn = null, byRow = null }: Exclude<Change, { value: number }>,
): RotatedTensor {
  const columns = source.shape.at(-1) ?? 1;
  const rows = source.shape.length > 1 ? (source.shape.at(-2) ?? 1) : 1;
  return { source, rows, columns, norm, byColumn, byRow };
}

/** The head as a tensor of its own: the embedding's table, with the last norm in it. */
function untiedHead(
  { embedding, hiddenSize, finalNorm, head }: DecoderDescription,
  byName: ReadonlyMap<string, SourceTensor>,
  rotated: Map<string, RotatedTensor | ConstantTensor>,
): SourceTensor {
  const table = byName.get(embedding.tensor);
  if (!table) throw new UnsupportedModelError(`The checkpoint has no tensor ${embedding.tensor}.`);
  const name = `${head.linear.module}.weight`;
  const run: RotatedRun = { rotation: "R1", first: 0, size: hiddenSize, blocks: 1 };
  const file = `${PREFIX}${name}`;
  rotated.set(file, rotatedTensor(table, { norm: folded(finalNorm, byName), byColumn: run }));
  return { ...table, name, file, start: 0, end: table.end - table.start };
}

/**
 * Attention whose heads can be rotated; other mixers keep what they are.
 * @throws UnsupportedModelError if there is none, or what stands between values and output passes no rotation.
 */
function rotatableAttention({ family, layers }: DecoderDescription): readonly Attention[] {
  const mixers = layers.flatMap((layer) => layer.mixers);
  const found = mixers.filter((mixer) => mixer.kind === "attention");
  const hint = "Leave R2 out of the rotations.";
  if (found.length === 0) {
    throw new UnsupportedModelError(
      `R2 turns values inside of heads of attention, and ${family} has none of the kind. ${hint}`,
    );
  }
  if (found.some(({ gate }) => gate !== null)) {
    throw new UnsupportedModelError(
      `The attention of ${family} has a gate between values and its output, where no rotation passes. ${hint}`,
    );
  }
  if (found.some(({ valueNorm }) => valueNorm !== null)) {
    throw new UnsupportedModelError(
      `The values of ${family} are normed behind their Linear, and in some models are its keys: no rotation passes there. ${hint}`,
    );
  }
  if (found.some(({ inputs }) => inputs.kind === "fused" && inputs.groups > 1)) {
    throw new UnsupportedModelError(
      `The values of ${family} lie in groups of one tensor, which R2 does not know. ${hint}`,
    );
  }
  return found;
}

const HINT = "Leave R1 out of the rotations: R2 turns only what is inside of attention.";

/** @throws UnsupportedModelError for what does not commute with a rotation of the hidden states. */
function checkRotatable(description: DecoderDescription, tensors: readonly SourceTensor[]): void {
  const { family, finalNorm, layers, hiddenSize } = description;
  const inputs = [finalNorm, ...layers.flatMap(({ norms }) => [norms.mixerInput, norms.feedForwardInput])];
  if (inputs.some((norm) => norm?.kind === "layer")) {
    throw new UnsupportedModelError(
      `The norms of ${family} subtract the mean of the hidden states, which changes when these are rotated. ${HINT}`,
    );
  }
  if (layers.some(({ norms }) => norms.mixerOutput ?? norms.feedForwardOutput)) {
    throw new UnsupportedModelError(
      `${family} has norms whose weights stand between a block's last Linear and the hidden states, where no rotation passes. ${HINT}`,
    );
  }
  if (inputs.some((norm) => norm && norm.size !== hiddenSize)) {
    throw new UnsupportedModelError(`The norms of ${family} see parts of the hidden states alone. ${HINT}`);
  }
  const linears = layers.flatMap(({ feedForward }) => feedForwardLinears(feedForward));
  if (linears.some(({ source }) => source.turned)) {
    throw new UnsupportedModelError(
      `The experts of ${family} lie with inputs before outputs, and stay as they are. ${HINT}`,
    );
  }
  const stranger = strangerTo(description, tensors);
  if (stranger !== undefined) {
    throw new UnsupportedModelError(
      `It is not known what ${stranger} does with the hidden states, which would be rotated. ${HINT}`,
    );
  }
}

/** A matrix that the description does not know. */
function strangerTo(description: DecoderDescription, tensors: readonly SourceTensor[]): string | undefined {
  const { embedding, head, layers } = description;
  const known = new Set([embedding.tensor, head.linear.source.tensor]);
  for (const { mixers, feedForward } of layers) {
    for (const { inputs, output, vectors } of mixers.map(factsOf)) {
      for (const { source } of [...inputs.flat(), output]) known.add(source.tensor);
      for (const [vector] of vectors) known.add(vector);
    }
    for (const { source } of feedForwardLinears(feedForward)) known.add(source.tensor);
  }
  return tensors.find(({ name, shape }) => shape.length > 1 && !known.has(name))?.name;
}
