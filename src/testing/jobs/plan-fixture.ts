// A whole job under the real conductor in Node, of a model of the fixtures: planned, and then run on as many machines as a test likes.

import type { MethodControls } from "../../api/job-options.ts";
import { modelSource, openModel } from "../../pipeline/inspect/open-model.ts";
import { rotateModel } from "../../pipeline/inspect/rotate-model.ts";
import type { CompressionPlan } from "../../pipeline/planning/compression-plan.ts";
import { readRecipe } from "../../pipeline/planning/plan-job.ts";
import { planRun, type RunPlan } from "../../pipeline/planning/plan-run.ts";
import { snapshotPace } from "../../pipeline/sequential/states/snapshot-clock.ts";
import type { SourceReference } from "../../api/source-api.ts";
import { summarizeAdapter } from "../../gpu/gpu.ts";
import { createMemoryDisk, type MemoryDisk } from "../stand-ins/memory-disk.ts";
import { createMemoryIndexedDb } from "../stand-ins/memory-indexed-db.ts";
import { provideBrowserGlobals } from "../stand-ins/browser-globals.ts";
import { createStubGpu } from "../stand-ins/stub-gpu.ts";
import { type JobChanges, optionsOf } from "./asked-job.ts";
import { BASE, droppedSource, filesOf, servedSource, toldOf } from "./fixture-source.ts";
import { createMachine, type Machine, provideDatabase } from "./machine.ts";

/** A planned job, and machines to run it on. */
export interface PlannedJob {
  readonly plan: CompressionPlan;
  readonly results: RunPlan["results"];
  /** A new machine, which `navigator` stands for from then on; on a disk that another one had, or an empty one. */
  machine(disk?: MemoryDisk): Machine;
}

/** Opens a fixture and plans a job. */
export async function planFixture(
  name: string,
  scheme: string,
  method: MethodControls,
  { downloaded = false, onRead, onTaken, ...changes }: JobChanges = {},
): Promise<PlannedJob> {
  provideBrowserGlobals();
  // Layers of some milliseconds are worth a snapshot or not by chance, and tests count operations.
  snapshotPace.bytesPerSecond = Infinity;
  if (downloaded) provideDatabase(createMemoryIndexedDb());
  const remote = downloaded ? servedSource(name) : droppedSource();
  const reference: SourceReference = downloaded
    ? { kind: "address", address: `${BASE}${name}/` }
    : { kind: "files", files: filesOf(name) };
  const options = optionsOf({ scheme, method }, changes);
  const model = rotateModel(await openModel(remote, reference, null), readRecipe(options.recipe).rotation);
  const open = async () => {
    if (!downloaded) return toldOf(modelSource(remote, model), { onRead, onTaken });
    const source = servedSource(name);
    await source.open(reference, null);
    return modelSource(source, model);
  };
  const adapter = summarizeAdapter(createStubGpu({}).adapter());
  const { lead: plan, results } = await planRun(model, options, {
    source: remote,
    adapter,
    sets: new Map(),
  });
  const machine = (disk = createMemoryDisk()) => createMachine({ model, options, open, plan, results }, disk);
  return { plan, results, machine };
}
