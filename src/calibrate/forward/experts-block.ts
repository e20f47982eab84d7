import { invariant } from "../../errors.ts";
import type { Experts, LayerDescription, Mlp } from "../../model/decoder-description.ts";
import { mlpLinears, mlpsOf } from "../../model/layer-linears.ts";
import { type ExpertOrder, sortRoutes } from "./experts/expert-order.ts";
import { addWeighted, type ExpertTokens, gatherRows, type OutputWeights, route } from "./experts/route.ts";
import {
  applyLinear,
  blockInput,
  type ForwardPass,
  hiddenMatrix,
  type HiddenRows,
  isWanted,
} from "./forward-pass.ts";
import type { Activations } from "./layer-weights.ts";
import { innerValues, mlpInputModules, tokenRuns } from "./mlp-block.ts";
import type { ExpertBuffers } from "./workspace.ts";

/**
 * hidden += Σ weight · expert(norm(hidden)) over each token's experts, then the shared expert; one expert's weights are
 * asked for at a time, always in the same order.
 */
export async function expertsBlock(
  pass: ForwardPass,
  layer: LayerDescription,
  block: Experts,
  states: HiddenRows,
): Promise<void> {
  const buffers = pass.workspace.experts;
  invariant(buffers, "the workspace was planned for experts");
  invariant(!layer.norms.feedForwardOutput && !layer.parallel, "experts join the residual as they are");
  for (const run of tokenRuns(pass, states)) {
    const input = await blockInput(pass, layer.norms.feedForwardInput, run);
    const context = { pass, layer, block, buffers, run, input };
    await (pass.experts === "all" ? allTokens(context) : routedTokens(context));
    if (block.shared) await sharedExpert(context, block.shared);
  }
}

interface Context {
  readonly pass: ForwardPass;
  readonly layer: LayerDescription;
  readonly block: Experts;
  readonly buffers: ExpertBuffers;
  readonly run: HiddenRows;
  readonly input: Activations;
}

/** Every expert sees every token, so that its statistics are good; only routed tokens reach the output. */
async function allTokens(context: Context): Promise<void> {
  const { pass, block, buffers, input } = context;
  const { routes } = buffers;
  await pass.hooks?.onInput?.(mlpsOf(block).flatMap(mlpInputModules), input);
  if (!pass.stopAtLastInput) await chooseExperts(context);
  for (const [expert, mlp] of block.experts.entries()) {
    await addExpert(context, mlp, input, { kind: "searched", routes, expert, topK: block.topK });
  }
}

/** Each expert sees the tokens that are routed to it. */
async function routedTokens(context: Context): Promise<void> {
  const { pass, block, buffers, run, input } = context;
  const { routes } = buffers;
  await chooseExperts(context);
  const { order, starts } = await sortOnHost(context);
  await pass.workspace.upload(new Uint8Array(order.buffer), buffers.order);
  for (const [expert, mlp] of block.experts.entries()) {
    const firstEntry = starts[expert] ?? 0;
    const count = (starts[expert + 1] ?? 0) - firstEntry;
    if (count === 0 || !isWanted(pass, mlpLinears(mlp))) continue;
    const tokens: ExpertTokens = { order: buffers.order, firstEntry, tokens: count, topK: block.topK };
    await gatherRows(pass.gpu, tokens, input, buffers.input);
    const gathered = { buffer: buffers.input, rows: count, columns: run.hiddenSize, stride: run.hiddenSize };
    await pass.hooks?.onInput?.(mlpInputModules(mlp), gathered);
    await addExpert(context, mlp, gathered, { kind: "routed", routes, tokens });
  }
}

async function chooseExperts({ pass, block, buffers, input }: Context): Promise<void> {
  const { router } = block;
  const logits = {
    buffer: buffers.logits,
    rows: input.rows,
    columns: router.rows,
    stride: Math.ceil(router.rows / 4) * 4,
  };
  await applyLinear(pass, router, input, logits);
  await route(pass.gpu, block, logits, buffers.routes);
}

async function sortOnHost({ pass, block, buffers, input }: Context): Promise<ExpertOrder> {
  const bytes = await pass.workspace.readBytes(buffers.routes, input.rows * block.topK * 8);
  const sorted = sortRoutes(new Uint32Array(bytes.buffer), block.experts.length);
  const counts = block.experts.map(
    (_, expert) => (sorted.starts[expert + 1] ?? 0) - (sorted.starts[expert] ?? 0),
  );
  await pass.hooks?.onRoutes?.(block.router.module, counts);
  return sorted;
}

async function sharedExpert(context: Context, { mlp, gate }: NonNullable<Experts["shared"]>): Promise<void> {
  const { pass, buffers, input } = context;
  if (pass.experts !== "all") await pass.hooks?.onInput?.(mlpInputModules(mlp), input);
  const logits = { buffer: buffers.gate, stride: 4 };
  if (!pass.stopAtLastInput) await applyLinear(pass, gate, input, logits);
  await addExpert(context, mlp, input, { kind: "gated", logits });
}

/** hidden += weight · mlp(input), unless only the inputs are wanted. */
async function addExpert(
  { pass, layer, buffers, run }: Context,
  mlp: Mlp,
  input: Activations,
  weights: OutputWeights,
): Promise<void> {
  if (!isWanted(pass, [mlp.down])) return;
  const inner = await innerValues(pass, mlp, input);
  await pass.hooks?.onInput?.([mlp.down.module], inner);
  if (pass.stopAtLastInput) return;
  const output = {
    buffer: buffers.output,
    rows: input.rows,
    columns: run.hiddenSize,
    stride: run.hiddenSize,
  };
  await applyLinear(pass, mlp.down, inner, output);
  await addWeighted(pass.gpu, weights, output, hiddenMatrix(run), layer.residualMultiplier);
}
