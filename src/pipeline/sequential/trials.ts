// What becomes of the model's last hidden states if one set of modules alone is quantized. Some tokens go through each layer as
// it is, and once more for each of its sets with what the codes of that set mean; all of them then go on through the layers
// behind, as they are, to the end. What an error there does to later layers is measured so, not guessed.

import { forwardLayer } from "../../calibrate/forward/forward-layer.ts";
import { batchBytes, createBatch, type TokenBatch } from "../../calibrate/forward/token-batch.ts";
import { invariant } from "../../errors.ts";
import type { HostBytes } from "../../onload/host-bytes.ts";
import type { TrialPlan } from "../planning/plan-trials.ts";
import { type LayerAtWork, weightsFor } from "./layer-at-work.ts";
import type { NeededWeights } from "./onload/onload-weights.ts";

type States = Uint8Array<ArrayBuffer>;

/** What a set of modules does to the end. */
export interface Trial {
  readonly modules: readonly string[];
  /** The squared change of a token's last hidden state as a share of its square, on average over tokens. */
  readonly moved: number;
}

export interface Trials {
  /** Keeps the states in front of the first layer, before samples leave it. */
  begin(work: LayerAtWork): Promise<void>;
  /**
   * Tries the sets of a layer, whose weights lie on the host, and takes earlier trials through it; once for each layer, even
   * if it is done again with another device.
   * @param meanings by module, what the codes mean that are tried
   */
  run(work: LayerAtWork, meanings: ReadonlyMap<string, HostBytes>): Promise<void>;
  /** Once all layers have run. */
  results(): Trial[];
}

/** One set's states on their way. */
interface TrialAtWork {
  readonly modules: readonly string[];
  readonly states: States;
}

/** @param shares of what is reported as propagating in a step, which of it are trials */
export function openTrials(
  { lengths, sets }: Pick<TrialPlan, "lengths" | "sets">,
  shares: ReadonlyMap<number, number>,
): Trials {
  let base: States | null = null;
  let alive: readonly TrialAtWork[] = [];
  let columns = { hidden: 1, stride: 1 };
  const done = new Set<number>();
  return {
    async begin(work) {
      base ??= await firstStates(work, lengths);
    },
    async run(work, meanings) {
      if (done.has(work.step.index)) return;
      const own = (sets.get(work.step.index) ?? []).filter((set) => set.some((name) => meanings.has(name)));
      const begun = base;
      invariant(begun, "trials begin in front of the first layer");
      const before = [begun, ...alive.map(({ states }) => states)];
      const share = (shares.get(work.step.index) ?? 0) / (before.length + own.length);
      const [through, ...others] = await forward(work, { lengths, share }, before);
      const next = alive.map(({ modules }, at) => ({ modules, states: others[at] ?? begun }));
      for (const modules of own) {
        using _ = replaced(work, modules, meanings);
        const [states = begun] = await forward(work, { lengths, share }, [begun]);
        next.push({ modules, states });
      }
      const { hiddenSize, carriedSize } = work.layer.description;
      columns = { hidden: hiddenSize, stride: hiddenSize + carriedSize };
      base = through ?? begun;
      alive = next;
      done.add(work.step.index);
    },
    results: () =>
      alive.map(({ modules, states }) => ({ modules, moved: base ? movedBy(base, states, columns) : 0 })),
  };
}

/** States in front of the first layer. */
async function firstStates({ services }: LayerAtWork, lengths: readonly number[]): Promise<States> {
  const { batches, hidden, states, readbacks, plan } = services;
  const [[batch], [buffer]] = [batches, hidden];
  invariant(batch && buffer, "there are samples");
  await states.load(batch.rows, buffer);
  return await readbacks.readBytes(buffer, 0, sum(lengths) * plan.hidden.size * 4);
}

/** Takes states through the layer as it lies on the host, as many at once as a batch of samples holds. */
async function forward(
  work: LayerAtWork,
  { lengths, share }: { readonly lengths: readonly number[]; readonly share: number },
  states: readonly States[],
): Promise<States[]> {
  const { layer, services, schedule, index } = work;
  const { gpu, readbacks, workspace, tokenTables } = services;
  const [buffer] = services.hidden;
  invariant(buffer, "there are samples");
  // What tokens are given lies there for the samples themselves, once.
  const most = tokenTables ? 1 : Math.floor(workspace.plan.size.tokens / sum(lengths));
  const together = Math.max(Math.min(most, states.length), 1);
  const needed = { linears: layer.linears, residency: schedule.residency.propagate };
  using onloaded = await weightsFor(work, roomFor(repeated(lengths, together), needed));
  const given = tokenTables ? { tokenTable: await tokenTables.of(index) } : {};
  const through: States[] = [];
  for (let first = 0; first < states.length; first += together) {
    const group = states.slice(first, first + together);
    services.report("propagating", "trials", share * group.length);
    using batch = await openTrialBatch(services, repeated(lengths, group.length));
    for (const [at, before] of group.entries())
      await services.uploads.write(before, buffer, at * before.byteLength);
    const pass = { gpu, weights: onloaded.weights, workspace, batch, ...given };
    await forwardLayer(pass, layer.description, buffer);
    for (const [at, { byteLength }] of group.entries())
      through.push(await readbacks.readBytes(buffer, at * byteLength, byteLength));
    await services.checkpoint();
  }
  return through;
}

/** The beginning of the first batch of samples: what its tokens are given is what they are. */
async function openTrialBatch(
  { gpu, uploads, batches }: LayerAtWork["services"],
  lengths: readonly number[],
): Promise<TokenBatch> {
  const batch = await createBatch(gpu, uploads, lengths);
  return { ...batch, tokenRows: batches[0]?.tokens.tokenRows ?? null };
}

function repeated(lengths: readonly number[], times: number): number[] {
  return Array.from({ length: times }, () => lengths).flat();
}

/** The positions of the tokens take room that the plan gave to weights, of which some may have to come in tiles then. */
function roomFor(lengths: readonly number[], { linears, residency }: NeededWeights): NeededWeights {
  const { residentBytes, tileBytes } = residency;
  const left = Math.max(residentBytes - tileBytes - batchBytes(lengths), 0);
  return { linears, residency: { tileBytes, residentBytes: left } };
}

/** Puts what codes mean in the place of modules' weights, for as long as it is held. */
function replaced(
  { host }: LayerAtWork,
  modules: readonly string[],
  meanings: ReadonlyMap<string, HostBytes>,
): Disposable {
  for (const module of modules) {
    const meaning = meanings.get(module);
    // Experts that saw too few tokens were rounded to nearest, which tells nobody what their codes mean.
    if (meaning) host.replaced.set(module, meaning);
  }
  return {
    [Symbol.dispose]() {
      for (const module of modules) host.replaced.delete(module);
    },
  };
}

/** Tokens count alike, however large their states are. */
function movedBy(
  base: States,
  states: States,
  { hidden, stride }: { readonly hidden: number; readonly stride: number },
): number {
  const [before, after] = [new Float32Array(base.buffer), new Float32Array(states.buffer)];
  const tokens = before.length / stride;
  let moved = 0;
  for (let token = 0; token < tokens; token++) {
    let [change, whole] = [0, 0];
    for (let at = token * stride; at < token * stride + hidden; at++) {
      const value = before[at] ?? 0;
      change += ((after[at] ?? 0) - value) ** 2;
      whole += value ** 2;
    }
    if (whole > 0) moved += change / whole;
  }
  return moved / tokens;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
