// Searches a group of mappings among the Hessians of a pass. What all of their Linears say is read back at once: waiting for the GPU
// after each of them took longer than the search.

import { allEnded } from "../../all-ended.ts";
import { CalibrationError, invariant } from "../../errors.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { zeroAboveDiagonal } from "../../gpu/triangular/zero-above-diagonal.ts";
import { readDiagonal } from "../../gpu/triangular/diagonal.ts";
import type { Mapping } from "../../model/mappings.ts";
import type { QuantizerTask } from "../quantizer.ts";
import type { RewriterPass, RewriterRun } from "../rewriter.ts";
import { type Candidate, candidateScales, type MappingMeans } from "./candidates.ts";
import {
  findLosses,
  findRanges,
  type Found,
  knownOf,
  readColumnShares,
  readErrors,
  readRanges,
  type SearchedLinear,
  type SearchServices,
  sumColumnShares,
} from "./search-linear.ts";
import { allocateSearch, type SearchedMapping, type SearchMemory, sharesScale } from "./search-memory.ts";

/** What is known of a mapping while its Hessians come, maybe one after the other. */
export interface Search {
  readonly tried: readonly Candidate[];
  readonly scales: readonly Float32Array<ArrayBuffer>[];
  /** Of each candidate, over all Linears so far: their relative errors, each as often as tokens came by. */
  readonly errors: Float64Array;
  /** How many those were. */
  readonly tokens: { count: number };
  /** Of Linears that share a scale over many rows: what is known of it, by candidate. */
  readonly known: Map<string, Float32Array<ArrayBuffer>>;
}

export interface GroupMember extends SearchedMapping<QuantizerTask> {
  readonly mapping: Mapping;
  /** True if its block will be run: only its candidates are looked for. */
  readonly byBlock: boolean;
}

export interface GroupSearch {
  readonly run: RewriterRun;
  readonly pass: RewriterPass;
  readonly group: readonly GroupMember[];
  readonly tried: readonly Candidate[];
  /** True if the magnitudes of weights count. */
  readonly duo: boolean;
}

type OwnLinear = SearchedLinear<QuantizerTask>;

/** A mapping that has scales to try, with its Linears. */
interface AtWork {
  readonly member: GroupMember;
  readonly linears: readonly OwnLinear[];
  readonly search: Search;
}

/** Adds to the losses of a group's mappings what the Linears of a pass say; the first pass begins their searches. */
export async function searchPass(of: GroupSearch, searches: Map<Mapping, Search>): Promise<void> {
  const { run, group, tried } = of;
  await run.checkpoint();
  using memory = await allocateSearch(run.gpu, group, tried.length, run.freeBytes);
  const services: SearchServices = { ...run, memory, total: tried.length };
  const members = group.map((member) => ({ member, linears: linearsOf(run, member) }));
  const fresh = members.filter(({ member }) => !searches.has(member.mapping));
  for (const [index, means] of (await meansOf(of, services, fresh)).entries()) {
    const { member } = fresh[index] ?? {};
    // Experts that no token reached tell nothing.
    if (!member || !means) continue;
    run.begins(member.mapping);
    searches.set(member.mapping, beginSearch(means, tried));
  }
  const atWork = members.flatMap(({ member, linears }): AtWork[] => {
    const search = searches.get(member.mapping);
    return search ? [{ member, linears, search }] : [];
  });
  await addErrors(of, services, atWork);
}

/** Scales are made when they are asked for: the GPU works on the mappings before meanwhile. */
function beginSearch(means: MappingMeans, tried: readonly Candidate[]): Search {
  let made: Search["scales"] | null = null;
  return {
    tried,
    get scales() {
      return (made ??= tried.map((candidate) => candidateScales(means, candidate)));
    },
    errors: new Float64Array(tried.length),
    tokens: { count: 0 },
    known: new Map(),
  };
}

function linearsOf(run: RewriterRun, { mapping, tasks }: GroupMember): OwnLinear[] {
  return tasks.map((task) => {
    const linear = mapping.balance.find(({ module }) => module === task.module);
    invariant(linear, `${task.module} is balanced`);
    return { task, load: async (firstRow, rows, to) => await run.load(linear, firstRow, rows, to) };
  });
}

/** Looks at the Linears of the pass's captures under each candidate. */
async function addErrors(
  { run, pass }: GroupSearch,
  services: SearchServices,
  atWork: readonly AtWork[],
): Promise<void> {
  const { gpu, memory } = services;
  const read = new Set(pass.captures.flatMap(({ modules }) => modules));
  const seen = atWork.flatMap(({ linears }) => linears.filter(({ task }) => read.has(task.module)));
  const inBlocks = atWork.filter(({ member }) => member.byBlock);
  const give = candidatesGiver(services);
  const sharing = atWork.filter(({ linears }) => linears.some(({ task }) => sharesScale(task)));
  for (const each of sharing) await give(each);
  const known = await giveKnown(run, services, [...seen, ...inBlocks.flatMap(({ linears }) => linears)]);
  for (const { linears, search } of inBlocks) {
    for (const { task } of linears)
      search.known.set(task.module, known.get(task.module) ?? new Float32Array());
  }
  for (const { member, linears, search } of atWork) {
    for (const { task } of member.byBlock ? [] : linears) {
      const own = known.get(task.module);
      if (own) search.known.set(task.module, own);
    }
  }
  for (const capture of pass.captures) {
    const reading = seen.filter(({ task }) => capture.modules.includes(task.module));
    if (reading.length === 0) continue;
    const matrix = pass.hessian(capture);
    await zeroAboveDiagonal(gpu, matrix);
    await readDiagonal(gpu, matrix, memory.tiles.diagonal);
    for (const linear of reading) {
      const own = atWork.find(({ linears }) => linears.includes(linear));
      if (own) await give(own);
      await findLosses(services, linear, matrix);
    }
  }
  if (seen.length === 0) return;
  const found = await readFound(run, memory);
  for (const { linears, search } of atWork) {
    for (const linear of linears) {
      const capture = pass.captures.find(({ modules }) => modules.includes(linear.task.module));
      const errors = capture && readErrors(found, linear, services);
      if (!capture || !errors) continue;
      const tokens = pass.tokens(capture);
      search.tokens.count += tokens;
      errors.forEach((error, at) => (search.errors[at] = (search.errors[at] ?? 0) + error * tokens));
    }
  }
}

/** What brings a mapping's candidates to the GPU, once. */
function candidatesGiver({ uploads, memory }: SearchServices): (of: AtWork) => Promise<void> {
  const given = new Set<AtWork>();
  return async (each) => {
    const [linear] = each.linears;
    if (!linear || given.has(each)) return;
    given.add(each);
    const { of, offset, bytes } = memory.of(linear.task).factors;
    const candidates = new Uint8Array(bytes);
    each.search.scales.forEach((scales, index) => candidates.set(bytesOf(scales), index * scales.byteLength));
    await uploads.write(candidates, of, offset);
  };
}

/** Finds out what Linears share a scale over: their fused sets are among the readers of one input. */
async function giveKnown(
  run: RewriterRun,
  services: SearchServices,
  linears: readonly OwnLinear[],
): Promise<ReadonlyMap<string, Float32Array<ArrayBuffer>>> {
  const { memory, total, uploads } = services;
  const known = new Map<string, Float32Array<ArrayBuffer>>();
  const sharing = linears.filter(({ task }) => sharesScale(task));
  if (sharing.length === 0) return known;
  for (const linear of sharing) await findRanges(services, linear);
  const found = await readFound(run, memory);
  const ranges = new Map(sharing.map((linear) => [linear, readRanges(found, linear, services)]));
  for (const [linear, own] of ranges) {
    const set = fusedWith(linear.task);
    const ofSet = [...ranges].filter(([{ task }]) => fusedWith(task) === set).map(([, each]) => each);
    const { of, offset } = memory.of(linear.task).known;
    const given = knownOf(linear.task, own, ofSet, total);
    known.set(linear.task.module, given);
    await uploads.write(bytesOf(given), of, offset);
  }
  return known;
}

function fusedWith({ fusedWith: set, module }: QuantizerTask): string {
  return set ?? module;
}

async function readFound(
  { readbacks }: Pick<RewriterRun, "readbacks">,
  { found }: { readonly found: LedgerBuffer },
): Promise<Found> {
  return new Float32Array((await readbacks.readBytes(found)).buffer);
}

/**
 * Mean activations and weights of the channels of mappings; null for those that no token came by.
 * @throws CalibrationError if an activation is NaN or infinite
 */
async function meansOf(
  { run, duo }: GroupSearch,
  services: SearchServices,
  members: readonly { readonly member: GroupMember; readonly linears: readonly OwnLinear[] }[],
): Promise<(MappingMeans | null)[]> {
  const { memory } = services;
  const looked = duo ? members.flatMap(({ linears }) => linears) : [];
  for (const linear of looked) await sumColumnShares(services, linear);
  // Asked for one after the other, the GPU would be waited for twice.
  const [found, seen] = await allEnded([
    looked.length > 0 ? readFound(run, memory) : Promise.resolve(null),
    allEnded(members.map(async (each) => ({ ...each, ...(await run.channels(each.member.mapping)) }))),
  ]);
  const means: (MappingMeans | null)[] = [];
  for (const { member, linears, magnitude, tokens } of seen) {
    checkFinite(member.mapping, magnitude);
    const w = found ? meanShares(found, linears, memory) : new Float64Array(magnitude.length);
    means.push(tokens === 0 ? null : { x: magnitude.map((sum) => sum / tokens), w });
  }
  return means;
}

/** @throws CalibrationError if a sum is not finite */
function checkFinite({ smooth }: Mapping, magnitude: Float32Array): void {
  const bad = magnitude.findIndex((sum) => !Number.isFinite(sum));
  if (bad === -1) return;
  throw new CalibrationError(
    `Channel ${bad} of what ${smooth} gives out is NaN or infinite on the calibration text, so that no scale can be searched for it. Check the text and the model's weights; finished layers are kept.`,
  );
}

function meanShares(found: Found, linears: readonly OwnLinear[], memory: SearchMemory): Float64Array {
  const rows = linears.reduce((sum, { task }) => sum + task.rows, 0);
  const means = new Float64Array(linears[0]?.task.columns ?? 0);
  for (const linear of linears) {
    readColumnShares(found, linear, memory).forEach((sum, channel) => {
      means[channel] = (means[channel] ?? 0) + sum / rows;
    });
  }
  return means;
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array<ArrayBuffer>): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
