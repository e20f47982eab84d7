// Parts of a model, as their documents tell of them, to what they make together.

import { MalformedModelError, PartsError } from "../errors.ts";
import type { TensorSpec } from "../formats/safetensors/safetensors.ts";
import { showValue } from "../formats/text/show-value.ts";
import { longestOf } from "../gpu/queue/long-submit.ts";
import { type PartDocument, partName, type ResultFacts } from "./part-document.ts";

/** A part where it was found. */
export interface FoundPart {
  readonly folder: string;
  readonly document: PartDocument;
}

export interface JoinedParts {
  /** All tensors in the order in which the undivided job fills its shards, with the folder that each lies in. */
  readonly tensors: readonly { readonly spec: TensorSpec; readonly folder: string }[];
  /** The part whose small files go into the result. */
  readonly rest: FoundPart;
  readonly facts: ResultFacts;
  /** What the forward passes of all ran on; null where there were none. */
  readonly forwardProducts: string | null;
}

/**
 * Joins parts, in whatever order they are given.
 * @throws PartsError, naming the parts, if they do not belong together, overlap, or something is missing;
 * MalformedModelError if what a part says of itself does not hold together
 */
export function joinParts(parts: readonly FoundPart[]): JoinedParts {
  const [first] = parts;
  if (!first) throw new PartsError("There are no parts to join.");
  for (const part of parts) checkSameJob(first, part);
  const layers = parts
    .filter(({ document }) => document.part.kind === "layers")
    .toSorted((a, b) => firstLayer(a) - firstLayer(b));
  const rests = parts.filter(({ document }) => document.part.kind === "rest");
  checkOverlap(layers, rests);
  checkProducts(layers);
  const [rest] = rests;
  const missing = missingLayers(layers, first.document.layers);
  if (!rest || missing.length > 0)
    throw new PartsError(
      `The parts do not make a whole: ${[...missing, ...(rest ? [] : ["rest"])].join(", ")} ${missing.length + (rest ? 0 : 1) === 1 ? "is" : "are"} in none of them. Make what is missing with --layers, from the same source with the same recipe.`,
    );
  const facts = joinFacts(rest, layers);
  return { tensors: joinTensors([...layers, rest]), rest, facts, forwardProducts: productsOf(layers) };
}

function checkSameJob(a: FoundPart, b: FoundPart): void {
  const [one, other] = [a.document, b.document];
  const compared = [
    ["the source", `${one.source.label} (${one.source.key})`, `${other.source.label} (${other.source.key})`],
    ["the recipe", one.recipe, other.recipe],
    ["calibration", settings(one), settings(other)],
    ["the version of Layerpress", one.version, other.version],
    ["the calibration text, or the layout of the result,", one.job, other.job],
  ] as const;
  const differing = compared.find(([, left, right]) => left !== right);
  if (!differing) return;
  const [what, its, theirs] = differing;
  const [left, right] = whereTheyDiffer(its, theirs);
  throw new PartsError(
    `${a.folder} and ${b.folder} are no parts of one job: ${what} differs (${showValue(left)} and ${showValue(right)}). Make one of them again as the other was made.`,
  );
}

/** Of two texts the line, or the field, in which they begin to differ: what comes before it is the same and long. */
function whereTheyDiffer(one: string, other: string): readonly [string, string] {
  let at = 0;
  while (at < one.length && one[at] === other[at]) at++;
  const begin = one.slice(0, at).search(/[^\n,{]*$/);
  const piece = (text: string) => (/^[^\n,}]*/.exec(text.slice(begin))?.[0] ?? "").trim();
  return [piece(one), piece(other)];
}

function settings({ calibration }: PartDocument): string {
  return JSON.stringify(calibration);
}

function firstLayer({ document: { part } }: FoundPart): number {
  return part.kind === "layers" ? part.first : -1;
}

function lastLayer({ document: { part } }: FoundPart): number {
  return part.kind === "layers" ? part.last : -1;
}

function checkOverlap(layers: readonly FoundPart[], rests: readonly FoundPart[]): void {
  const [one, another] = rests;
  if (one && another)
    throw new PartsError(`${one.folder} and ${another.folder} are both the rest. Leave one of them out.`);
  for (const [index, part] of layers.entries()) {
    const next = layers[index + 1];
    if (!next || firstLayer(next) > lastLayer(part)) continue;
    throw new PartsError(
      `${part.folder} (${partName(part.document)}) and ${next.folder} (${partName(next.document)}) overlap: both hold layer ${firstLayer(next)}. Leave one of them out, or make it again without that layer.`,
    );
  }
}

/** Layers that were computed on different units would make a model that no single job makes. */
function checkProducts(layers: readonly FoundPart[]): void {
  const computed = layers.filter(({ document }) => document.forwardProducts !== null);
  const [first] = computed;
  const other = computed.find(({ document }) => document.forwardProducts !== first?.document.forwardProducts);
  if (!first || !other) return;
  throw new PartsError(
    `${first.folder} and ${other.folder} were computed on different units of the GPU (${first.document.forwardProducts} and ${other.document.forwardProducts}): no single job ends with such layers. Make one of them again on such a GPU as the other's, or all with --forward-products F32.`,
  );
}

/** Ranges that no part holds, as the command line says them. */
function missingLayers(layers: readonly FoundPart[], count: number): string[] {
  const missing: string[] = [];
  let due = 0;
  const skipTo = (end: number) => {
    if (due < end) missing.push(`layers ${due}..${end - 1}`);
  };
  for (const part of layers) {
    skipTo(firstLayer(part));
    due = lastLayer(part) + 1;
  }
  skipTo(count);
  return missing;
}

function joinTensors(parts: readonly FoundPart[]): JoinedParts["tensors"] {
  const steps: JoinedParts["tensors"][] = [];
  const [first] = parts;
  // Before anything is as long as a document says.
  const told = parts.reduce((sum, { document }) => sum + document.written.length, 0);
  if (first && first.document.steps !== told)
    throw contradiction(parts.map(({ folder }) => folder).join(", "));
  for (const { folder, document } of parts) {
    for (const { place, tensors } of document.written) {
      if (steps[place] || place >= document.steps) throw contradiction(folder);
      steps[place] = tensors.map((spec) => ({ spec, folder }));
    }
  }
  const joined = steps.flat();
  const names = new Set(joined.map(({ spec }) => spec.name));
  if (first && (Object.keys(steps).length !== first.document.steps || names.size !== joined.length))
    throw contradiction(parts.map(({ folder }) => folder).join(", "));
  return joined;
}

function contradiction(where: string): MalformedModelError {
  return new MalformedModelError(
    `${where}: what the parts say of their tensors does not hold together. They were changed since they were made: make them again.`,
  );
}

/** Of parts that all ran on the same. */
function productsOf(layers: readonly FoundPart[]): string | null {
  return layers.map(({ document }) => document.forwardProducts).find((name) => name !== null) ?? null;
}

/** What was measured of the whole: sums of times, the highest of peaks. */
function joinFacts(rest: FoundPart, layers: readonly FoundPart[]): ResultFacts {
  const { source, recipe, result } = rest.document;
  const all = [...layers, rest].map(({ document }) => document.measured);
  const seconds = new Map<string, number>();
  for (const part of all)
    for (const [phase, spent] of Object.entries(part.seconds))
      seconds.set(phase, (seconds.get(phase) ?? 0) + spent);
  const { calibration } = rest.document;
  return {
    source,
    recipe,
    result,
    calibration: calibration && {
      ...calibration,
      forward_products: productsOf(layers) ?? calibration.forward_products,
    },
    measured: {
      modules: all.flatMap(({ modules }) => modules),
      mappings: all.flatMap(({ mappings }) => mappings),
      peakGpuBytes: Math.max(...all.map(({ peakGpuBytes }) => peakGpuBytes)),
      gpuBudgetBytes: Math.max(...all.map(({ gpuBudgetBytes }) => gpuBudgetBytes)),
      longestSubmits: longestOf(all.flatMap(({ longestSubmits }) => longestSubmits)),
      gpuBusySeconds: all.reduce((sum, { gpuBusySeconds }) => sum + gpuBusySeconds, 0),
      seconds: Object.fromEntries(seconds),
    },
  };
}
