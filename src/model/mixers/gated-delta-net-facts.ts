import { normTensors } from "../norm-tensors.ts";
import type { MixerFacts } from "./mixer-facts.ts";
import { convolutionTensors, gateTensors, recurrentWork } from "./recurrent-facts.ts";
import type { Linear } from "../weight-description.ts";
import type { DeltaInputs, GatedDeltaNet } from "../mixer-description.ts";

export function gatedDeltaNetFacts(mixer: GatedDeltaNet): MixerFacts {
  const { heads, keyDim, valueDim, convolution } = mixer;
  return {
    inputs: [inputLinears(mixer.inputs)],
    output: mixer.output,
    vectors: [...convolutionTensors(convolution), ...normTensors(mixer.norm), ...gateTensors(mixer)],
    keyValueCache: null,
    work: (tokens) => tokens * recurrentWork(heads, keyDim * valueDim, convolution),
  };
}

function inputLinears(inputs: DeltaInputs): readonly Linear[] {
  if (inputs.kind === "grouped") return [inputs.queryKeyValueGate, inputs.betaTimeStep];
  return [inputs.queryKeyValue, inputs.gate, inputs.beta, inputs.timeStep];
}
