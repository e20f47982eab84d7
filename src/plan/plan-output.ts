// The result's shards, laid out before anything runs: every output tensor has its file and its bytes from the start, so
// that finished tensors are written once, in place, in whatever order they are finished.

import type { TensorSpec } from "../formats/safetensors/safetensors.ts";
import { layOutShards, type OutputPlan, type ShardRules } from "../formats/safetensors/shards.ts";
import type { PlanStep, StepPlan } from "./plan-steps.ts";

/** Fills shards in the order of the steps, as transformers' `save_pretrained` does; a step may span shards. */
export function planOutput(plan: Pick<StepPlan, "steps">, rules?: ShardRules): OutputPlan {
  return layOutShards(outputSpecs(plan), rules);
}

/** All tensors of the result, in the order of the steps. */
export function outputSpecs(plan: Pick<StepPlan, "steps">): TensorSpec[] {
  return plan.steps.flatMap(stepSpecs);
}

/** The tensors that a step writes, in the order in which shards are filled. */
export function stepSpecs({ copy, quantize, measured }: PlanStep): TensorSpec[] {
  return [
    ...copy.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    ...quantize.flatMap((task) => task.outputs),
    ...measured,
  ];
}
