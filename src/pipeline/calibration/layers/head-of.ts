// Whether samples go on behind the decoder's last layer, to the input of the model's head.

import { isStaticActivation } from "../../../formats/schemes/quantization-args.ts";
import type { DecoderDescription, LayerDescription } from "../../../model/decoder-description.ts";
import { headLayer, headVectors } from "../../../model/head-layer.ts";
import type { PlanStep, QuantizeTask } from "../../../plan/plan-steps.ts";
import { quantizerFor } from "../../../quantize/quantizers.ts";

/**
 * The head as a layer behind all others, where a result wants to know of its input; null where none does, or where samples do not come
 * there: another Linear of its step is quantized too, or its tensors or the norm's come in front of the layers.
 * @param results the steps of each result, all cut alike
 */
export function headOf(
  description: DecoderDescription,
  results: readonly (readonly PlanStep[])[],
): LayerDescription | null {
  const { module } = description.head.linear;
  const tasks = results.flat().flatMap((step) => step.quantize.map((task) => ({ step, task })));
  const wanting = tasks.find(({ task }) => task.module === module && wantsInput(task));
  if (!wanting) return null;
  const { name, index } = wanting.step;
  const layer = headLayer(description, name);
  const others = tasks.some(({ step, task }) => step.name === name && task.module !== module);
  const carried = new Set(wanting.step.copy.map((tensor) => tensor.name));
  const hasNorm = [...headVectors(layer)].every((tensor) => carried.has(tensor));
  const names = new Set(description.layers.map((each) => each.name));
  const isLast = results.flat().every((step) => !names.has(step.name) || step.index < index);
  return isLast && hasNorm && !others ? layer : null;
}

function wantsInput(task: QuantizeTask): boolean {
  const { input_activations: activations } = task.scheme;
  return quantizerFor(task).statistics(task).length > 0 || isStaticActivation(activations);
}
