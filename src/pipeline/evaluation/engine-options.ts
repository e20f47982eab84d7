import type { EngineOptions } from "../../evaluate/runtime/engine.ts";
import type { EvaluationOptions } from "../../api/evaluator-api.ts";

/** What a call's options mean for the engine. */
export function engineOptions(
  options: Pick<EvaluationOptions, "provider" | "gpuBudgetBytes">,
): EngineOptions {
  const { provider, gpuBudgetBytes } = options;
  return { budgetBytes: gpuBudgetBytes, ...(provider === "auto" ? {} : { provider }) };
}
