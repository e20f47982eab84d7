// A planned model and a calibration set to what the sequential pipeline works on: the decoder's description, and for each
// of its layers the tensors, captures and tasks.

import type { CalibrationSet } from "../calibrate/select-sequences.ts";
import { invariant, UnsupportedModelError } from "../errors.ts";
import { isFloatDtype } from "../formats/dtype.ts";
import type { DecoderDescription, LayerDescription } from "../model/decoder-description.ts";
import { describeDecoder } from "../model/describe-decoder.ts";
import { captures, layerLinears } from "../model/layer-linears.ts";
import type { PlanStep } from "../plan/plan-steps.ts";
import type { SourceTensor } from "../plan/read-headers.ts";
import type { CalibrationOptions } from "./api.ts";
import type { CalibratedLayer } from "./calibration-memory.ts";
import type { OpenModel } from "./open-model.ts";
import { type CalibrationPlan, planCalibration } from "./plan-calibration.ts";

export interface CalibrationJob {
  readonly description: DecoderDescription;
  readonly set: CalibrationSet;
  readonly options: CalibrationOptions;
  readonly plan: CalibrationPlan;
  readonly layers: readonly CalibratedLayer[];
  /** Place of a step's decoder layer in `layers`, by the step's index. */
  readonly layerOf: ReadonlyMap<number, number>;
}

/**
 * Plans the calibrated part of a job.
 * @throws UnsupportedModelError if the architecture is not known, DeviceLimitError if the budget is too small.
 */
export function planCalibrationJob(
  model: OpenModel,
  steps: readonly PlanStep[],
  set: CalibrationSet,
  options: CalibrationOptions,
  limits: { readonly budgetBytes: number; readonly maxBufferBytes: number },
): CalibrationJob {
  const description = describeDecoder(
    model.config.raw,
    model.tensors.map(({ name }) => name),
  );
  const tensors = new Map(model.tensors.map((tensor) => [tensor.name, tensor]));
  const layerOf = new Map<number, number>();
  const layers = description.layers.map((layer, index) => {
    const step = steps.find(({ name }) => name === layer.name);
    if (!step) {
      throw new UnsupportedModelError(
        `The files hold no tensors of ${layer.name}, which config.json declares. The data-free recipes still work.`,
      );
    }
    layerOf.set(step.index, index);
    return calibratedLayer(layer, step, tensors);
  });
  const plan = planCalibration(
    {
      layers,
      lengths: set.sequences.map(({ length }) => length),
      hidden: { size: description.hiddenSize, dtype: options.hidden_states_dtype },
      maxTokens: null,
    },
    limits,
  );
  return { description, set, options, plan, layers, layerOf };
}

function calibratedLayer(
  description: LayerDescription,
  step: PlanStep,
  tensors: ReadonlyMap<string, SourceTensor>,
): CalibratedLayer {
  const tasks = step.quantize.filter(({ gptq }) => gptq !== null);
  const quantized = new Set(tasks.map(({ module }) => module));
  const linears = layerLinears(description);
  const sources = new Set(linears.map(({ source }) => source.tensor));
  const own = [...step.copy, ...step.quantize.map(({ tensor }) => tensor)];
  const vectors = own
    .filter(({ name, dtype }) => !sources.has(name) && isFloatDtype(dtype))
    .map(({ name, shape }) => ({ name, elements: shape.reduce((product, size) => product * size, 1) }));
  return {
    description,
    captures: captures(description).filter(({ modules }) => modules.some((module) => quantized.has(module))),
    linears,
    vectors,
    tasks,
    dtypeOf(name) {
      const dtype = tensors.get(name)?.dtype;
      invariant(dtype && isFloatDtype(dtype), `${name} is a floating-point tensor`);
      return dtype;
    },
  };
}
