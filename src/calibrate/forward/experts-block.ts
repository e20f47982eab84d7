import { invariant } from "../../errors.ts";
import type { ApartNorms, Experts, LayerDescription, Mlp } from "../../model/decoder-description.ts";
import { expertInputModules, mlpLinears } from "../../model/layer-linears.ts";
import { type ExpertOrder, sortRoutes } from "./experts/expert-order.ts";
import { addWeighted, type ExpertTokens, gatherRows, type OutputWeights, route } from "./experts/route.ts";
import {
  applyLinear,
  applyNorm,
  blockInput,
  type ForwardPass,
  hiddenMatrix,
  type HiddenRows,
  isWanted,
} from "./forward-pass.ts";
import type { Activations, LayerWeights } from "./layer-weights.ts";
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
  invariant(!layer.parallel, "experts come after the mixers");
  invariant(!block.apart || layer.norms.feedForwardOutput, "what is normed apart is added up apart");
  const { feedForwardInput, feedForwardOutput } = layer.norms;
  invariant(feedForwardOutput ?? layer.carriedSize === 0, "experts' outputs join rows without gaps");
  for (const run of tokenRuns(pass, states)) {
    const input = await blockInput(pass, feedForwardInput, run);
    const sum = feedForwardOutput ? await clearedSum(pass, buffers, run) : hiddenMatrix(run);
    const context = {
      pass,
      block,
      buffers,
      input,
      sum,
      scale: feedForwardOutput ? 1 : layer.residualMultiplier,
      run,
    };
    if (pass.experts === "all" && isObserved(pass, block)) await allTokens(context);
    else await routedTokens(context, await routeTokens(context));
    if (block.shared) {
      await (block.apart
        ? apartExpert(context, block.apart, block.shared.mlp)
        : sharedExpert(context, block.shared));
    }
    if (!feedForwardOutput || pass.stopAtLastInput) continue;
    await applyNorm(pass, feedForwardOutput, sum, hiddenMatrix(run), { scale: layer.residualMultiplier });
  }
}

/**
 * sum += scale · Σ weight · expert(input) over each token's experts, then the shared expert, of an input that has been normed
 * already; no hooks are told.
 * @param as with the order that this returned for the same input, if no tokens were routed since: they go there again; and with others
 * that differ in the experts' last Linears alone
 */
export async function addExperts(
  pass: ForwardPass,
  block: Experts,
  input: Activations,
  sum: Activations,
  as: {
    readonly scale: number;
    readonly order?: ExpertOrder | null;
    readonly others?: readonly OtherOutput[];
  },
): Promise<ExpertOrder> {
  const buffers = pass.workspace.experts;
  invariant(buffers, "the workspace was planned for experts");
  invariant(!block.apart, "the router sees what the experts see");
  const { hooks: _, stopAtLastInput: __, ...quiet } = pass;
  const { scale, others } = as;
  const context = { pass: quiet, block, buffers, input, sum, scale, run: null, ...(others && { others }) };
  const order = as.order ?? (await routeTokens(context));
  await routedTokens(context, order);
  if (block.shared) await sharedExpert(context, block.shared);
  return order;
}

/** What else is added to: the same with other weights of the Linears that come last. */
export interface OtherOutput {
  readonly weights: LayerWeights;
  readonly sum: Activations;
}

/** False where nobody looks at what experts are given, such as those of gpt-oss: their own tokens are enough then. */
function isObserved({ wanted, stopAtLastInput }: ForwardPass, block: Experts): boolean {
  if (!wanted || stopAtLastInput) return true;
  const modules = [...expertInputModules(block), ...block.experts.map(({ down }) => down.module)];
  return modules.some((module) => wanted.has(module));
}

/** Where the experts' outputs are added up before they are normed. */
async function clearedSum(
  { gpu }: ForwardPass,
  { sum }: ExpertBuffers,
  run: HiddenRows,
): Promise<Activations> {
  invariant(sum, "the workspace was planned for a norm of the experts' output");
  const { rows, hiddenSize } = run;
  await gpu.queue.clear(sum, 0, rows * hiddenSize * 4);
  return { buffer: sum, rows, columns: hiddenSize, stride: hiddenSize };
}

interface Context {
  readonly pass: ForwardPass;
  readonly block: Experts;
  readonly buffers: ExpertBuffers;
  readonly input: Activations;
  /** What outputs are added to, with this factor: the hidden states, or a sum that is normed first. */
  readonly sum: Activations;
  readonly scale: number;
  readonly others?: readonly OtherOutput[];
  /** Null where only the block's input is at hand. */
  readonly run: HiddenRows | null;
}

/** Every expert sees every token, so that its statistics are good; only routed tokens reach the output. */
async function allTokens(context: Context): Promise<void> {
  const { pass, block, buffers, input } = context;
  const { routes } = buffers;
  await pass.hooks?.onInput?.(expertInputModules(block), input);
  if (block.weighsInputs) {
    await innerInputs(context);
    if (pass.stopAtLastInput) return;
    const { hooks: _, ...quiet } = pass;
    const routed = { ...context, pass: quiet };
    await routedTokens(routed, await routeTokens(routed));
    return;
  }
  if (!pass.stopAtLastInput) await chooseExperts(context);
  for (const [expert, mlp] of block.experts.entries()) {
    await addExpert(context, mlp, input, { kind: "searched", routes, expert, topK: block.topK });
  }
}

/** Shows all tokens to every expert's down projection, unweighed: what experts give for them is not wanted. */
async function innerInputs({ pass, block, input }: Context): Promise<void> {
  for (const mlp of block.experts) {
    if (!isWanted(pass, [mlp.down])) continue;
    await pass.hooks?.onInput?.([mlp.down.module], await innerValues(pass, mlp, input));
  }
}

/** Finds each token's experts; what is returned is on the GPU, too. */
async function routeTokens(context: Context): Promise<ExpertOrder> {
  await chooseExperts(context);
  const sorted = await sortOnHost(context);
  await context.pass.workspace.upload(new Uint8Array(sorted.order.buffer), context.buffers.order);
  return sorted;
}

/** Each expert sees the tokens that are routed to it. */
async function routedTokens(context: Context, { starts }: ExpertOrder): Promise<void> {
  const { pass, block, buffers, input } = context;
  const { routes } = buffers;
  for (const [expert, mlp] of block.experts.entries()) {
    const firstEntry = starts[expert] ?? 0;
    const count = (starts[expert + 1] ?? 0) - firstEntry;
    if (count === 0 || !isWanted(pass, mlpLinears(mlp))) continue;
    const tokens: ExpertTokens = { order: buffers.order, firstEntry, tokens: count, topK: block.topK };
    const { columns } = input;
    await gatherRows(pass.gpu, tokens, input, buffers.input, block.weighsInputs ? routes : null);
    const gathered = { buffer: buffers.input, rows: count, columns, stride: columns, routed: true };
    await pass.hooks?.onInput?.(mlpInputModules(mlp), gathered);
    const weights = block.weighsInputs ? { kind: "unweighed" as const } : { kind: "routed" as const, routes };
    await addExpert(context, mlp, gathered, { ...weights, tokens });
  }
}

async function chooseExperts({ pass, block, buffers, input, run }: Context): Promise<void> {
  const { router, apart } = block;
  const logits = {
    buffer: buffers.logits,
    rows: input.rows,
    columns: router.rows,
    stride: Math.ceil(router.rows / 4) * 4,
  };
  if (apart && run) {
    // No expert's output is there yet.
    const seen = { ...input, buffer: buffers.output, offset: 0 };
    await applyNorm(pass, apart.router.norm, hiddenMatrix(run), seen);
    await applyLinear(pass, router, seen, logits, { scale: apart.router.factor, replaces: true });
  } else await applyLinear(pass, router, input, logits);
  const { correction, expertScales } = block;
  const vectors = {
    correction: correction === null ? null : await pass.weights.vector(correction),
    scales: expertScales === undefined ? null : await pass.weights.vector(expertScales),
  };
  await route(pass.gpu, block, logits, vectors, buffers.routes);
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
  if (!gate) {
    await addPlain(context, mlp);
    return;
  }
  const logits = { buffer: buffers.gate, stride: 4 };
  if (!pass.stopAtLastInput) await applyLinear(pass, gate, input, logits);
  await addExpert(context, mlp, input, { kind: "gated", logits });
}

/** sum = norm(sum) + norm(mlp(norm(hidden))), unless only the inputs are wanted: an MLP beside the experts. */
async function apartExpert(context: Context, apart: ApartNorms, mlp: Mlp): Promise<void> {
  const { pass, buffers, sum, run } = context;
  invariant(run, "the hidden states are at hand");
  const input = await blockInput(pass, apart.sharedInput, run);
  await pass.hooks?.onInput?.(mlpInputModules(mlp), input);
  if (!isWanted(pass, [mlp.down])) return;
  const inner = await innerValues(pass, mlp, input);
  await pass.hooks?.onInput?.([mlp.down.module], inner);
  if (pass.stopAtLastInput) return;
  await applyNorm(pass, apart.output, null, sum);
  const output = { ...sum, buffer: buffers.output };
  await applyLinear(pass, mlp.down, inner, output);
  await applyNorm(pass, apart.sharedOutput, output, sum, { scale: 1 });
}

/** sum += scale · mlp(input), unless only the inputs are wanted. */
async function addPlain(context: Context, mlp: Mlp): Promise<void> {
  const { pass, input, scale } = context;
  if (!isWanted(pass, [mlp.down])) return;
  const inner = await innerValues(pass, mlp, input);
  await pass.hooks?.onInput?.([mlp.down.module], inner);
  if (pass.stopAtLastInput) return;
  for (const { weights, sum } of outputsOf(context))
    await applyLinear({ ...pass, weights }, mlp.down, inner, sum, { scale });
}

function outputsOf({ pass: { weights }, sum, others = [] }: Context): OtherOutput[] {
  return [{ weights, sum }, ...others];
}

/** sum += scale · weight · mlp(input), unless only the inputs are wanted. */
async function addExpert(context: Context, mlp: Mlp, input: Activations, by: OutputWeights): Promise<void> {
  const { pass, buffers, sum, scale } = context;
  if (!isWanted(pass, [mlp.down])) return;
  const inner = await innerValues(pass, mlp, input);
  await pass.hooks?.onInput?.([mlp.down.module], inner);
  if (pass.stopAtLastInput) return;
  const output = {
    buffer: buffers.output,
    rows: input.rows,
    columns: sum.columns,
    stride: sum.columns,
  };
  for (const { weights, sum: to } of outputsOf(context)) {
    await applyLinear({ ...pass, weights }, mlp.down, inner, output);
    await addWeighted(pass.gpu, by, output, to, scale);
  }
}
