// Quantized modules on their way between jobs that share samples: what each output tensor holds, and the report; what the codes mean
// each job makes of them. All lengths follow from the plan, the report's from the file's.

import { allEnded } from "../../../all-ended.ts";
import { DTYPE_BITS } from "../../../formats/numbers/dtype.ts";
import { type TensorSpec, tensorBytes } from "../../../formats/safetensors/safetensors.ts";
import { ExchangeError, invariant } from "../../../errors.ts";
import { linearWeight } from "../../../onload/host-layer.ts";
import type { QuantizeTask } from "../../../plan/plan-steps.ts";
import { staysOriginal } from "../../calibration/layers/calibrated-layer.ts";
import { hostLayerBytes } from "../../calibration/memory/host-memory.ts";
import { isShape } from "../../job/copy-tensors.ts";
import {
  type Dequantizer,
  openDequantizer,
  weightsAtOnce,
  weightsWithin,
} from "../../../quantize/gptq/dequantize-stored.ts";
import type { ModuleReport } from "../../../api/compressor-api.ts";
import type { ModuleWeights } from "../../../quantize/quantizer.ts";
import { type ComingFiles, openComing } from "./coming-files.ts";
import { createLaterWrites, type LaterWrites } from "./later-writes.ts";
import type { LayerAtWork, LayerOutput } from "../layer-at-work.ts";
import type { ModuleMemory } from "../module-memory.ts";
import { dropSums } from "./reduce.ts";
import type { ShareAtWork } from "../services.ts";
import { ownersOf, shareNames } from "./share-names.ts";
import { waitLater } from "../../../wait-later.ts";
import { createWaitingBytes } from "./waiting-bytes.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Of modules that come, and of those that go, so much waits in memory even where a layer leaves no room there. */
const LEAST_WAITING_BYTES = 256 * 1024 ** 2;

/** What a module's file holds of its output tensors, by name. */
type ModuleTensors = ReadonlyMap<string, Bytes>;

/** Keeps what a quantizer makes of modules until it is given to the others. */
export interface ModuleRecord {
  write(tensor: string, offset: number, bytes: Bytes): void;
  /** A module's weights, which are loaded when memory holds what becomes of them. */
  weights(weights: ModuleWeights): ModuleWeights;
  /** Begins to give a module that is done. */
  give(report: ModuleReport): void;
  /** Gives those of these that are not given yet, and waits until all are. */
  given(reports: readonly ModuleReport[]): Promise<void>;
}

/** Null where there is nobody to give them to. */
export function recordModules(work: LayerAtWork): ModuleRecord | null {
  const { layer } = work;
  const { share } = work.services;
  if (!share || share.plan.of === 1) return null;
  const files = new Map<string, ModuleTensors>();
  const giving = openGiving(work, share);
  const give = (report: ModuleReport) => {
    const file = files.get(report.module);
    invariant(file, "a module that has a report is recorded");
    files.delete(report.module);
    giving.give(file, report);
  };
  const fileOf = (task: QuantizeTask) => {
    const file = files.get(task.module) ?? emptyTensors(task, share.memory);
    files.set(task.module, file);
    return file;
  };
  const taskOf = new Map(
    layer.tasks.flatMap((task) => task.outputs.map(({ name }) => [name, task] as const)),
  );
  return {
    write(tensor, offset, bytes) {
      const task = taskOf.get(tensor);
      if (task) fileOf(task).get(tensor)?.set(bytes, offset);
    },
    weights: (weights) => ({
      ...weights,
      async load(firstRow, rows, to) {
        await giving.room();
        await weights.load(firstRow, rows, to);
      },
    }),
    give,
    async given(reports) {
      reports.filter(({ module }) => !giving.has(module)).forEach(give);
      await giving.given();
    },
  };
}

/** Modules on their way to the others. */
function openGiving(work: LayerAtWork, share: ShareAtWork) {
  const puts = new Map<string, Promise<void>>();
  const waiting = createWaitingBytes(waitingBytes(work));
  return {
    give(file: ModuleTensors, report: ModuleReport) {
      const bytes = fileBytes(file);
      waiting.add(bytes);
      const put = giveModule(work, share, file, report).finally(() => {
        waiting.remove(bytes);
        for (const tensor of file.values()) share.memory.give(tensor);
      });
      puts.set(report.module, waitLater(put));
    },
    /** Resolves when memory holds another one. */
    room: async () => await waiting.room(),
    has: (module: string) => puts.has(module),
    given: async () => void (await allEnded([...puts.values()])),
  };
}

async function giveModule(
  { index, layer }: LayerAtWork,
  { plan, exchange }: ShareAtWork,
  tensors: ModuleTensors,
  report: ModuleReport,
): Promise<void> {
  const place = layer.tasks.findIndex(({ module }) => module === report.module);
  const told = new TextEncoder().encode(JSON.stringify(report));
  await exchange.put(shareNames(plan, index).module(place), [...tensors.values(), told]);
}

/** What other jobs make of a layer's modules; it comes while this one is at work. */
export interface ComingModules extends AsyncDisposable {
  /**
   * Begins to take them into memory; what waits for them holds connections that sums want, too. Where the plan has room for it, what they mean
   * takes the place of their weights while this job chooses codes of its own modules.
   */
  begin(): void;
  /**
   * Puts what they mean where samples find it; after an interruption, what this job itself had made, too. Their tensors are written later,
   * beside what is done next.
   */
  take(): Promise<void>;
  /** Resolves when all are written, and this job's own are given. */
  written(): Promise<void>;
}

export function awaitModules(work: LayerAtWork): ComingModules {
  const { layer, services } = work;
  const { share } = services;
  const [output] = work.outputs;
  // Nothing reads what becomes of the last layers, or of any where no error goes on, and only one job writes.
  const isRead = layer.leavesErrors && !work.isLast && !staysOriginal(layer);
  if (!output || !share || share.plan.of === 1 || (!isRead && !share.writes)) return nothingComes(work);
  const owners = moduleOwners(work, share);
  const resumed = work.passes.length === 0;
  const wanted = layer.tasks.filter(({ module }) => resumed || owners.get(module) !== share.plan.index);
  const names = shareNames(share.plan, work.index);
  const coming = openComing(wanted, waitingBytes(work), async (task) => {
    const from = owners.get(task.module) ?? 0;
    const what = `what it makes of ${task.module}`;
    const name = names.module(layer.tasks.indexOf(task));
    return await share.exchange.take(name, { from, what }, (bytes) => share.memory.take(bytes));
  });
  const writes = createLaterWrites();
  const reads = isRead && output.propagates && wanted.length > 0;
  let taking: Promise<void> | null = null;
  const takeAll = async (weights: number) => {
    await takeModules(work, output, { share, wanted, owners, coming, writes }, reads ? weights : 0);
  };
  return {
    begin() {
      coming.begin();
      // Else passes to come, or codes that are chosen, want the memory.
      const weights = work.kept && reads ? weightsWithin(wanted, work.schedule.spareQuantizing) : null;
      if (weights !== null) taking ??= waitLater(takeAll(weights));
    },
    async take() {
      coming.begin();
      await (taking ??= waitLater(takeAll(weightsAtOnce(services.gpu))));
      sortReports(output.reports, layer.tasks);
      await dropSums(work);
    },
    written: async () => void (await allEnded([writes.written(), ...work.giving])),
    async [Symbol.asyncDispose]() {
      coming.stop();
      writes[Symbol.dispose]();
      await taking?.catch(() => undefined);
    },
  };
}

/** Modules that others make, and what becomes of their files. */
interface TakenModules {
  readonly share: ShareAtWork;
  readonly wanted: readonly QuantizeTask[];
  readonly owners: ReadonlyMap<string, number>;
  readonly coming: ComingFiles;
  readonly writes: LaterWrites;
}

/** @param weights that are made of codes at a time; 0 where nobody reads them */
async function takeModules(
  work: LayerAtWork,
  output: LayerOutput,
  { share, wanted, owners, coming, writes }: TakenModules,
  weights: number,
): Promise<void> {
  const { layer, services } = work;
  using dequantizer = weights > 0 ? await openDequantizer(services, wanted, weights) : null;
  for (const [place, task] of wanted.entries()) {
    const from = (owners.get(task.module) ?? 0) + 1;
    services.report("quantizing", `${task.module}, by share ${from}`, 1 / layer.tasks.length);
    const { bytes, done } = await coming.get(place);
    const { tensors, report } = readFile(task, bytes);
    if (dequantizer) await keepMeaning(work, task, tensors, dequantizer);
    output.reports.push(report);
    for (const [tensor, own] of share.writes ? tensors : [])
      writes.add(own, (offset, slice) => output.write(tensor, offset, slice));
    writes.behind(() => {
      share.memory.give(bytes);
      done();
    });
  }
}

function nothingComes(work: LayerAtWork): ComingModules {
  const nothing = () => undefined;
  return {
    begin: nothing,
    take: async () => await dropSums(work),
    written: async () => void (await allEnded(work.giving)),
    [Symbol.asyncDispose]: async () => await Promise.resolve(),
  };
}

/** In the order of the layer's modules. */
function sortReports(reports: ModuleReport[], tasks: readonly QuantizeTask[]): void {
  const placeOf = new Map(tasks.map(({ module }, place) => [module, place]));
  reports.sort((a, b) => (placeOf.get(a.module) ?? 0) - (placeOf.get(b.module) ?? 0));
}

function moduleOwners(work: LayerAtWork, { plan }: ShareAtWork): ReadonlyMap<string, number> {
  const owners = work.schedule.passes.flatMap((captures) => [...ownersOf(work, captures, plan.of)]);
  return new Map(owners.flatMap(([{ modules }, owner]) => modules.map((module) => [module, owner] as const)));
}

/** Half of what the layer leaves of memory: one half for what comes, one for what goes. */
function waitingBytes({ layer, schedule, services }: LayerAtWork): number {
  const { memoryBytes } = services.plan.layerPlace;
  return Math.max((memoryBytes - hostLayerBytes({ layer, schedule })) / 2, LEAST_WAITING_BYTES);
}

/** Puts what a module's codes mean in the place of its weights. */
async function keepMeaning(
  work: LayerAtWork,
  task: QuantizeTask,
  tensors: ModuleTensors,
  dequantizer: Dequantizer,
): Promise<void> {
  const { kept, layer, host, services } = work;
  const linear = layer.linears.find(({ module }) => module === task.module);
  invariant(linear, `${task.module} is a Linear of its layer`);
  const rowBytes = (task.columns * DTYPE_BITS[task.dtype]) / 8;
  const tensor = (name: string) => tensors.get(`${task.module}.${name}`) ?? null;
  await dequantizer.dequantize({ task, tensor }, async (firstRow, rows, from) => {
    if (kept) {
      await kept.replaceRows(task.module, firstRow, rows, from);
      return;
    }
    const weight = linearWeight(host, linear);
    await services.readbacks.read(from, 0, rows * rowBytes, (view, position) =>
      weight.write(firstRow * rowBytes + position, view),
    );
  });
}

function fileBytes(tensors: ModuleTensors): number {
  return [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** Shapes of packed weights are written before anything comes from others. */
function givenOutputs({ outputs }: QuantizeTask): readonly TensorSpec[] {
  return outputs.filter((spec) => !isShape(spec));
}

function emptyTensors(task: QuantizeTask, memory: ModuleMemory): ModuleTensors {
  return new Map(givenOutputs(task).map((spec) => [spec.name, memory.take(tensorBytes(spec)).fill(0)]));
}

/** @throws ExchangeError if a file is not what the plan says */
function readFile(
  task: QuantizeTask,
  bytes: Bytes,
): { readonly tensors: ModuleTensors; readonly report: ModuleReport } {
  let at = 0;
  const cut = (length: number) => bytes.subarray(at, (at += length));
  const tensors = new Map(givenOutputs(task).map((spec) => [spec.name, cut(tensorBytes(spec))]));
  if (bytes.byteLength <= at)
    throw new ExchangeError(
      `The file of ${task.module} has ${bytes.byteLength} bytes where more than ${at} are due. Delete the exchange folder and begin all shares again.`,
    );
  const report = JSON.parse(new TextDecoder().decode(cut(bytes.byteLength - at))) as ModuleReport;
  return { tensors, report };
}
