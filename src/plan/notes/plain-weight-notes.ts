// What inspection says of weights that a person may take for Linears and that stay as they are.

import type { TensorSpec } from "../../formats/safetensors/safetensors.ts";
import type { LinearClasses } from "../../model/linear-classes.ts";
import { type PlainWeight, isInTower, weightOf } from "../checkpoint/find-linears.ts";

const SHOWN = 3;

/** Sentences about weights that lie turned over, whose dtype is not quantized, or that the architecture does not know. */
export function plainWeightNotes(tensors: readonly TensorSpec[], classes: LinearClasses): string[] {
  const plain = tensors.flatMap((tensor) => {
    const found = weightOf(tensor, classes);
    return found?.kind === "plain" ? [found.plain] : [];
  });
  const of = (reason: PlainWeight["reason"]) =>
    plain.filter((weight) => weight.reason === reason && !isInTower(weight.name));
  const turned = of("turned");
  const dtype = of("dtype");
  const unknown = classes.complete ? of("unknown") : [];
  const notes: string[] = [];
  if (turned.length > 0) {
    notes.push(
      `${count(turned)} with inputs before outputs, in modules of the class Conv1D (${names(turned)}): no engine loads them quantized, so they stay as they are.`,
    );
  }
  if (dtype.length > 0) {
    notes.push(
      `${count(dtype)} in a dtype that is not quantized (${names(dtype)}); only BF16, F16 and F32 are. They stay as they are.`,
    );
  }
  if (unknown.length > 0) {
    notes.push(
      `${count(unknown)} in modules that a model of this type does not have in transformers (${names(unknown)}): they stay as they are.`,
    );
  }
  return notes;
}

function count({ length }: readonly PlainWeight[]): string {
  return length === 1 ? "1 weight lies" : `${length} weights lie`;
}

function names(weights: readonly PlainWeight[]): string {
  const shown = weights.slice(0, SHOWN).map(({ name }) => name);
  return weights.length > SHOWN ? `${shown.join(", ")}, …` : shown.join(", ");
}
