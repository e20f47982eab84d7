// Quantized modules on their way between jobs that share samples: what each output tensor holds, and the report; what the codes mean
// each job makes of them. All lengths follow from the plan, the report's from the file's.

import { DTYPE_BITS } from "../../formats/dtype.ts";
import { type TensorSpec, tensorBytes } from "../../formats/safetensors.ts";
import { ExchangeError, invariant } from "../../errors.ts";
import { linearWeight } from "../../onload/layer-weights.ts";
import type { QuantizeTask } from "../../plan/plan-steps.ts";
import { hostLayerBytes } from "../calibration/host-memory.ts";
import { isShape } from "../job/copy-tensors.ts";
import { dequantizeStored } from "../../quantize/gptq/dequantize-stored.ts";
import type { ModuleReport, ModuleWeights } from "../../quantize/quantizer.ts";
import type { LayerAtWork, LayerOutput } from "./layer-at-work.ts";
import { dropSums } from "./reduce.ts";
import type { ShareAtWork } from "./services.ts";
import { ownersOf, shareNames } from "./share-names.ts";
import { waitLater } from "./wait-later.ts";
import { createWaitingBytes } from "./waiting-bytes.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Of modules that come, and of those that go, so much waits in memory even where a layer leaves no room there. */
const LEAST_WAITING_BYTES = 256 * 1024 ** 2;
/** Files that come at a time. A browser has six connections to a server, and others have to give, too. */
const LANES = 2;

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
    const file = files.get(task.module) ?? emptyTensors(task);
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
      const put = giveModule(work, share, file, report).finally(() => waiting.remove(bytes));
      puts.set(report.module, waitLater(put));
    },
    /** Resolves when memory holds another one. */
    room: async () => await waiting.room(),
    has: (module: string) => puts.has(module),
    given: async () => void (await Promise.all(puts.values())),
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
export interface ComingModules extends Disposable {
  /** Begins to take them into memory. */
  begin(): void;
  /** Puts it where this job's own work is; after an interruption, what this job itself had made, too. */
  take(): Promise<void>;
}

export function awaitModules(work: LayerAtWork): ComingModules {
  const { layer, services } = work;
  const { share } = services;
  const [output] = work.outputs;
  const nothing = () => undefined;
  // Nothing reads what comes out of the last layer, or of any where no error goes on, and only one job writes.
  const isRead = layer.leavesErrors && !work.isLast;
  if (!output || !share || share.plan.of === 1 || (!isRead && !share.writes))
    return { begin: nothing, take: async () => await dropSums(work), [Symbol.dispose]: nothing };
  const owners = moduleOwners(work, share);
  const resumed = work.passes.length === 0;
  const wanted = layer.tasks.filter(({ module }) => resumed || owners.get(module) !== share.plan.index);
  const names = shareNames(share.plan, work.index);
  const coming = openComing(wanted, waitingBytes(work), async (task) => {
    const from = owners.get(task.module) ?? 0;
    const what = `what it makes of ${task.module}`;
    return await share.exchange.take(names.module(layer.tasks.indexOf(task)), { from, what });
  });
  return {
    begin: () => coming.begin(),
    async take() {
      for (const [place, task] of wanted.entries()) {
        const from = (owners.get(task.module) ?? 0) + 1;
        services.report("quantizing", `${task.module}, by share ${from}`, 1 / layer.tasks.length);
        await takeModule(work, output, task, await coming.get(place));
      }
      const placeOf = new Map(layer.tasks.map(({ module }, place) => [module, place]));
      output.reports.sort((a, b) => (placeOf.get(a.module) ?? 0) - (placeOf.get(b.module) ?? 0));
      await dropSums(work);
    },
    [Symbol.dispose]: () => coming.stop(),
  };
}

function moduleOwners({ layer, schedule }: LayerAtWork, { plan }: ShareAtWork): ReadonlyMap<string, number> {
  const owners = schedule.passes.flatMap((captures) => [...ownersOf(captures, layer.tasks, plan.of)]);
  return new Map(owners.flatMap(([{ modules }, owner]) => modules.map((module) => [module, owner] as const)));
}

/** Half of what the layer leaves of memory: one half for what comes, one for what goes. */
function waitingBytes({ layer, schedule, services }: LayerAtWork): number {
  const { memoryBytes } = services.plan.layerPlace;
  return Math.max((memoryBytes - hostLayerBytes({ layer, schedule })) / 2, LEAST_WAITING_BYTES);
}

/**
 * Takes files in order, a few at a time, once it begins, and keeps them until they are asked for, in the same order.
 * @param most bytes that are kept before no more are taken
 */
function openComing<Item>(
  items: readonly Item[],
  most: number,
  take: (item: Item) => Promise<Bytes>,
): { begin(): void; get(place: number): Promise<Bytes>; stop(): void } {
  const files = new Map(items.map((_, place) => [place, Promise.withResolvers<Bytes>()]));
  for (const { promise } of files.values()) promise.catch(() => undefined);
  const places = items.keys();
  const waiting = createWaitingBytes(most);
  let stopped = false;
  const run = async () => {
    for (;;) {
      // A place is taken when there is room for it, so that no file is waited for behind later ones.
      await waiting.room();
      const { value: place = -1 } = places.next();
      const [item, file] = [items[place], files.get(place)];
      if (stopped || item === undefined) return;
      await take(item).then((bytes) => {
        waiting.add(bytes.byteLength);
        file?.resolve(bytes);
      }, file?.reject);
    }
  };
  return {
    begin() {
      for (let lane = 0; lane < LANES; lane++) void run();
    },
    async get(place) {
      const file = files.get(place);
      invariant(file, "a file for each module");
      const bytes = await file.promise;
      files.delete(place);
      waiting.remove(bytes.byteLength);
      return bytes;
    },
    stop() {
      stopped = true;
    },
  };
}

async function takeModule(
  work: LayerAtWork,
  { write, reports, propagates }: LayerOutput,
  task: QuantizeTask,
  bytes: Bytes,
): Promise<void> {
  const { tensors, report } = readFile(task, bytes);
  for (const [tensor, own] of tensors) write(tensor, 0, own);
  if (propagates) await keepMeaning(work, task, tensors);
  reports.push(report);
}

/** Puts what a module's codes mean in the place of its weights. */
async function keepMeaning(work: LayerAtWork, task: QuantizeTask, tensors: ModuleTensors): Promise<void> {
  const { kept, layer, host, services } = work;
  const linear = layer.linears.find(({ module }) => module === task.module);
  invariant(linear, `${task.module} is a Linear of its layer`);
  const rowBytes = (task.columns * DTYPE_BITS[task.dtype]) / 8;
  const tensor = (name: string) => tensors.get(`${task.module}.${name}`) ?? null;
  await dequantizeStored(services, { task, tensor }, async (firstRow, rows, from) => {
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

function emptyTensors(task: QuantizeTask): ModuleTensors {
  return new Map(givenOutputs(task).map((spec) => [spec.name, new Uint8Array(tensorBytes(spec))]));
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
