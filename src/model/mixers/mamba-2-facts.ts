import { normTensors, vectorShape } from "../norm-tensors.ts";
import type { MixerFacts } from "./mixer-facts.ts";
import { convolutionTensors, gateTensors, recurrentWork } from "./recurrent-facts.ts";
import type { Mamba2 } from "../mixer-description.ts";

export function mamba2Facts(mixer: Mamba2): MixerFacts {
  const { heads, headDim, stateDim, convolution, norm, skip } = mixer;
  return {
    inputs: [[mixer.input]],
    output: mixer.output,
    vectors: [
      ...convolutionTensors(convolution),
      ...normTensors(norm?.norm ?? null),
      ...gateTensors(mixer),
      vectorShape(skip, heads),
    ],
    keyValueCache: null,
    work: (tokens) => tokens * recurrentWork(heads, stateDim * headDim, convolution),
  };
}
