// The quantizers by the modifier that names them. To add one: its words in `formats/modifiers`, a folder here, a line below.

import type { QuantizerName } from "../formats/modifiers/quantizers.ts";
import { gptqQuantizer, refinedQuantizer } from "./gptq/gptq-quantizer.ts";
import type { Quantizer, QuantizerTask } from "./quantizer.ts";
import { roundingQuantizer } from "./rtn/rounding-quantizer.ts";

const QUANTIZERS: Readonly<Record<QuantizerName, Quantizer>> = {
  QuantizationModifier: roundingQuantizer,
  GPTQModifier: gptqQuantizer,
};

export function quantizerFor({ modifier }: Pick<QuantizerTask, "modifier">): Quantizer {
  const refined = modifier.name === "QuantizationModifier" && modifier.settings?.refine !== undefined;
  return refined ? refinedQuantizer : QUANTIZERS[modifier.name];
}

/** True if the Hessian of the module's input is collected, and used up. */
export function wantsHessian(task: QuantizerTask): boolean {
  return quantizerFor(task).statistics(task).includes("hessian");
}

/** Tasks by their quantizer, in the order in which the first of each comes. */
export function byQuantizer<Task extends Pick<QuantizerTask, "modifier">>(
  tasks: readonly Task[],
): ReadonlyMap<Quantizer, readonly Task[]> {
  const groups = new Map<Quantizer, Task[]>();
  for (const task of tasks) {
    const quantizer = quantizerFor(task);
    const group = groups.get(quantizer);
    if (group) group.push(task);
    else groups.set(quantizer, [task]);
  }
  return groups;
}
