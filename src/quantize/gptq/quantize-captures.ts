// GPTQ of the modules whose Hessians a pass collected. Where the layer's weights stay on the GPU, codes are read back while
// the next module is computed. Else each module comes from host memory and goes back to it before the next one begins.

import { allEnded } from "../../all-ended.ts";
import { openTogether } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import { GPTQ_SETTINGS } from "../../formats/modifiers/gptq.ts";
import type { QuantizingModifier } from "../../formats/recipe/recipe.ts";
import { allocateCholeskyScratch } from "../../gpu/triangular/cholesky-scratch.ts";
import { beginJointly } from "../../joint-work.ts";
import type { Capture } from "../../model/layer-linears.ts";
import { PLAIN_CONTEXT } from "../observe/observe-tile.ts";
import type { ModuleReport } from "../../api/compressor-api.ts";
import type { QuantizerRun, QuantizerTask } from "../quantizer.ts";
import {
  beginFactoring,
  type FactoredHessian,
  type FactorScratch,
  readHessianDiagonals,
} from "./factor-hessian.ts";
import { type ModuleObservation, moduleContexts, needsScan, observeModule } from "./observe-module.ts";
import {
  allocateGptqWorkspace,
  type GptqWorkspace,
  type ModuleContext,
  type ModuleOutcome,
  type QuantizedTask,
  quantizeModule,
  type TiledTask,
} from "./quantize-module.ts";
import { driftOf } from "./gptq-task.ts";

/** Diagonals that are read at once: together they take less than the scratch of a factorisation. */
const DIAGONALS = 64;

type Tiled = TiledTask & { readonly task: QuantizerTask };
type Observed = Tiled & { readonly context: ModuleContext };

/** Quantizes the modules of a pass; resolves when their codes are written. */
export async function quantizeCaptures(run: QuantizerRun): Promise<ModuleReport[]> {
  const secondsSince = createLaps(run.now);
  const [first] = run.order;
  const statistics = await readStatistics(run);
  // Not before: what is read would wait for what comes, and the GPU for the first factorisation.
  if (first) run.reaches(first);
  const reports = await quantizeInOrder(run, statistics, secondsSince);
  const places = new Map(
    run.pass.flatMap(({ modules }, place) => modules.map((module) => [module, place] as const)),
  );
  const placeOf = ({ module }: ModuleReport) => places.get(module) ?? 0;
  return reports.toSorted((a, b) => placeOf(a) - placeOf(b));
}

async function quantizeInOrder(
  run: QuantizerRun,
  statistics: ReadonlyMap<Capture, CaptureStatistics>,
  secondsSince: () => number,
): Promise<ModuleReport[]> {
  const { gpu, order, overlap } = run;
  const shared = order.flatMap((capture) => tiledTasks(run, capture));
  using workspace = overlap && shared.length > 0 ? await allocateGptqWorkspace(gpu, shared, 2) : null;
  return await beginJointly(async (joint) => {
    const reports: Promise<ModuleReport>[] = [];
    const groups = overlap ? [order] : order.map((capture) => [capture]);
    for await (const { capture, factored, ...known } of factorCaptures(run, groups, statistics)) {
      for (const tiled of await observeTasks(run, tiledTasks(run, capture), factored, workspace)) {
        run.begins(tiled.task.module);
        const drift = driftOf(tiled.task) > 0 ? run.statistics.drift(capture) : null;
        const { outcome } = await quantizeTask(run, { ...tiled, drift }, factored, workspace);
        const timed = async () => {
          const report = { ...(await outcome), ...known, seconds: secondsSince() };
          run.ends(report);
          return report;
        };
        reports.push(joint.watch(timed()));
      }
      run.statistics.release(capture);
      const next = order[order.indexOf(capture) + 1];
      if (next) run.reaches(next);
    }
    return await Promise.all(reports);
  });
}

function tiledTasks({ tasks, phase }: QuantizerRun, { modules }: Capture): Tiled[] {
  return tasks
    .filter(({ module }) => modules.includes(module))
    .map((task) => ({ task, tileRows: phase.tileRows.get(task.module) ?? 1 }));
}

/** Seconds since the call before. */
function createLaps(now: () => number): () => number {
  let last = now();
  return () => {
    const ended = now();
    const seconds = (ended - last) / 1000;
    last = ended;
    return seconds;
  };
}

/** What the host needs of a Hessian before it is factored. */
interface CaptureStatistics {
  readonly diagonal: Float32Array;
  readonly tokens: number;
  /** Too few tokens were seen: its modules are rounded to nearest. */
  readonly rounded: boolean;
}

/** Of many captures at once: later on, a reading would wait for the modules before it. */
async function readStatistics(run: QuantizerRun): Promise<Map<Capture, CaptureStatistics>> {
  const { gpu, readbacks, pass, statistics } = run;
  const known = new Map<Capture, CaptureStatistics>();
  for (let first = 0; first < pass.length; first += DIAGONALS) {
    const captures = pass.slice(first, first + DIAGONALS);
    const seen = captures.map((capture) => {
      const tokens = statistics.tokens(capture);
      return { capture, tokens, rounded: run.sawTooFew(capture, tokens) };
    });
    for (const { capture, rounded } of seen) if (rounded) await statistics.clear(capture);
    const hessians = captures.map((capture) => statistics.hessian(capture));
    const diagonals = await readHessianDiagonals(gpu, hessians, readbacks);
    for (const [index, { capture, ...own }] of seen.entries()) {
      known.set(capture, { diagonal: diagonals[index] ?? new Float32Array(), ...own });
    }
  }
  return known;
}

interface FactoredCapture {
  readonly capture: Capture;
  readonly factored: FactoredHessian;
  readonly tokens: number;
  readonly rounded: boolean;
  /** Zero for modules that are rounded to nearest. */
  readonly loss?: number;
  readonly rtnLoss?: number;
}

/**
 * Factors the Hessians of captures one after the other. Of a group each is under way before the one ahead of it is waited for: the GPU has
 * work while the host learns whether a factorisation went well.
 */
async function* factorCaptures(
  run: QuantizerRun,
  groups: readonly (readonly Capture[])[],
  statistics: ReadonlyMap<Capture, CaptureStatistics>,
): AsyncGenerator<FactoredCapture> {
  for (const captures of groups) {
    using scratch = await openFactorScratch(run, captures);
    const begin = async (index: number) => {
      const capture = captures[index];
      return capture ? await beginCapture(run, capture, statistics.get(capture), scratch.of(index)) : null;
    };
    let factoring = await begin(0);
    for (let next = 1; factoring; next++) {
      const following = await begin(next);
      yield await factoring();
      factoring = following;
    }
  }
}

/** Scratch for the largest of these captures' Hessians. */
async function openFactorScratch(
  { gpu, uploads, readbacks }: QuantizerRun,
  captures: readonly Capture[],
): Promise<{ of(index: number): FactorScratch } & Disposable> {
  const columns = Math.max(...captures.map((capture) => capture.columns));
  return await openTogether(async (parts) => {
    // Asked for one by one, each would be waited for.
    const [own, vector, other] = await parts.useAll([
      allocateCholeskyScratch(gpu, columns),
      gpu.memory.allocate({ label: "diagonal", bytes: columns * 4 }),
      gpu.memory.allocate({ label: "Cholesky status", bytes: 16 }),
    ]);
    const rings = { vector, uploads, readbacks };
    return {
      // What one factorisation came to is read while the next one is under way.
      of: (index: number) => ({ ...rings, cholesky: index % 2 === 0 ? own : { ...own, failedRow: other } }),
    };
  });
}

/** Begins to factor a capture's Hessian, or that of rounding to nearest where too few tokens were seen; resolves to what finishes it. */
async function beginCapture(
  run: QuantizerRun,
  capture: Capture,
  known: CaptureStatistics | undefined,
  scratch: FactorScratch,
): Promise<() => Promise<FactoredCapture>> {
  invariant(known, "each capture of the pass has statistics");
  const { diagonal, tokens, rounded } = known;
  const { gpu, statistics } = run;
  const tasks = run.tasks.filter(({ module }) => capture.modules.includes(module));
  const byActivation = tasks.some(({ weights }) => weights.actorder !== null);
  const name =
    capture.modules.length > 1 ? `the input of ${capture.modules.join(", ")}` : `${capture.modules[0]}`;
  const dampeningFrac = Math.max(...tasks.map(({ modifier }) => dampingOf(modifier)));
  const options = { diagonal, byActivation, dampeningFrac, name } as const;
  const factoring = await beginFactoring(gpu, statistics.hessian(capture), options, scratch);
  return async () => {
    const factored = await factoring.finish();
    if (!rounded) return { capture, factored, tokens, rounded };
    // A Hessian of zeros is factored as the identity: no column makes up for another's error, and none is dead.
    const dead = new Uint8Array(capture.columns);
    return { capture, factored: { ...factored, dead }, tokens, rounded, loss: 0, rtnLoss: 0 };
  };
}

function dampingOf(modifier: QuantizingModifier): number {
  return modifier.name === "GPTQModifier" ? modifier.settings.dampening_frac : GPTQ_SETTINGS.dampening_frac;
}

/** Observes the modules of a capture, as far as it takes to know what their tiles share, before one of them changes. */
async function observeTasks(
  run: QuantizerRun,
  tasks: readonly Tiled[],
  factored: FactoredHessian,
  shared: GptqWorkspace | null,
): Promise<Observed[]> {
  const begun: Promise<ModuleObservation | null>[] = [];
  for (const tiled of tasks) {
    const services = { ...run, weights: run.weights(tiled.task.module) };
    const observe = async (workspace: GptqWorkspace) =>
      await observeModule(tiled, factored, workspace, services);
    const scanned = needsScan(tiled.task.weights) ? await withWorkspace(run, tiled, shared, observe) : null;
    begun.push(scanned?.observed ?? Promise.resolve(null));
  }
  // Not before all are recorded: each would be waited for.
  const observed = await allEnded(begun);
  const all = tasks.map((tiled, index) => ({ ...tiled, observed: observed[index] ?? null }));
  const sets = Map.groupBy(all, ({ task }) => task.fusedWith ?? task.module);
  const contexts = new Map([...sets.values()].flatMap((set) => [...moduleContexts(set)]));
  return tasks.map((tiled) => ({ ...tiled, context: contexts.get(tiled.task.module) ?? PLAIN_CONTEXT }));
}

/** Records a module's kernels. Without the pass's workspace it has one of its own, and is done on return. */
async function quantizeTask(
  run: QuantizerRun,
  tiled: QuantizedTask,
  factored: FactoredHessian,
  shared: GptqWorkspace | null,
): Promise<{ readonly outcome: Promise<ModuleOutcome> }> {
  const services = { ...run, weights: run.weights(tiled.task.module) };
  return await withWorkspace(run, tiled, shared, async (workspace) => {
    const quantizing = await quantizeModule(tiled, factored, workspace, services);
    if (!shared) await quantizing.outcome;
    return quantizing;
  });
}

/** Runs with the pass's workspace, or with one that the module has for so long. */
async function withWorkspace<Result>(
  { gpu }: QuantizerRun,
  tiled: TiledTask,
  shared: GptqWorkspace | null,
  run: (workspace: GptqWorkspace) => Promise<Result>,
): Promise<Result> {
  if (shared) return await run(shared);
  using own = await allocateGptqWorkspace(gpu, [tiled], 1);
  return await run(own);
}
