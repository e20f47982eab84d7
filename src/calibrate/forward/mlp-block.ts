import type { LayerDescription, Mlp, XieluActivation } from "../../model/decoder-description.ts";
import { mlpInputLinears, sharesInput } from "../../model/layer-linears.ts";
import { activate } from "./activate/activate.ts";
import { xielu } from "./activate/xielu.ts";
import {
  applyLinear,
  blockInput,
  type ForwardPass,
  type HiddenRows,
  isWanted,
  joinResidual,
  normedMatrix,
} from "./forward-pass.ts";
import type { Activations } from "./layer-weights.ts";
import { rowRuns } from "./row-runs.ts";

/** hidden += mlp(norm(hidden)), in runs of as many tokens as the workspace has room for. */
export async function mlpBlock(
  pass: ForwardPass,
  layer: LayerDescription,
  mlp: Mlp,
  states: HiddenRows,
): Promise<void> {
  for (const run of tokenRuns(pass, states)) {
    const input = layer.parallel
      ? normedMatrix(pass, run)
      : await blockInput(pass, layer.norms.feedForwardInput, run);
    if (!sharesInput(layer)) await pass.hooks?.onInput?.(mlpInputModules(mlp), input);
    if (!isWanted(pass, [mlp.down])) continue;
    const inner = await innerValues(pass, mlp, input);
    await pass.hooks?.onInput?.([mlp.down.module], inner);
    if (pass.stopAtLastInput) continue;
    const factor = mlp.factors?.output ?? 1;
    const end = { linear: mlp.down, norm: layer.norms.feedForwardOutput, factor };
    await joinResidual(pass, layer, end, inner, run);
  }
}

/** Values of a token that an MLP's input Linears fill. */
export function mlpColumns({ inputs, intermediateSize }: Mlp): number {
  return inputs.kind === "plain" ? intermediateSize : 2 * intermediateSize;
}

/** Runs of rows that the workspace's scratch buffer holds the inner values of, cut between units where it holds one. */
export function* tokenRuns({ workspace, units }: ForwardPass, states: HiddenRows): Generator<HiddenRows> {
  for (const run of rowRuns(states, workspace.plan.mlpTokens, units)) yield { ...states, ...run };
}

export function mlpInputModules(mlp: Mlp): string[] {
  return mlpInputLinears(mlp.inputs).map(({ module }) => module);
}

/** activation(gate x) · up x, or activation(up x), in the scratch buffer: the input of the down projection. */
export async function innerValues(pass: ForwardPass, mlp: Mlp, input: Activations): Promise<Activations> {
  const { inputs, intermediateSize, activation } = mlp;
  const inner: Activations = {
    buffer: pass.workspace.scratch,
    rows: input.rows,
    columns: intermediateSize,
    stride: mlpColumns(mlp),
    ...(input.routed && { routed: true }),
  };
  const up = inputs.kind === "plain" ? null : intermediateSize;
  if (inputs.kind === "gated") {
    const scale = mlp.factors?.gate ?? 1;
    await applyLinear(pass, inputs.gate, input, inner, { scale, replaces: true });
    await applyLinear(pass, inputs.up, input, { ...inner, offset: intermediateSize });
  } else {
    await applyLinear(pass, inputs.kind === "fused" ? inputs.gateUp : inputs.up, input, inner);
  }
  if (typeof activation !== "string" && activation.kind === "xielu") {
    await xielu(pass.gpu, await xieluBuffers(pass, activation), inner);
  } else await activate(pass.gpu, activation, inner, up);
  return inner;
}

async function xieluBuffers({ weights }: ForwardPass, activation: XieluActivation) {
  return {
    alphaP: await weights.vector(activation.alphaP),
    alphaN: await weights.vector(activation.alphaN),
    beta: await weights.vector(activation.beta),
    eps: await weights.vector(activation.eps),
  };
}
