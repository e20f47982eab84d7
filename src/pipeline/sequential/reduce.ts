// Between collecting and quantizing, jobs that share samples add their Hessians up: each gets those of the modules that it
// quantizes, and gives its sums of all others away. Of a job that has all samples nothing is left to be added.

import { nodesOf } from "../../calibrate/chunk-tree.ts";
import type { HessianTree } from "../../calibrate/hessian-tree.ts";
import { ExchangeError, invariant } from "../../errors.ts";
import { heldPanels, panelBytes } from "../../gpu/panels.ts";
import { layOutTriangle } from "../../gpu/triangular/triangular-matrix.ts";
import type { Capture } from "../../model/layer-linears.ts";
import type { PassStatistics } from "./calibrate.ts";
import type { LayerAtWork, Pass } from "./layer-at-work.ts";
import type { ShareAtWork } from "./services.ts";
import { ownersOf, type ShareNames, shareNames } from "./share-names.ts";

/** What a share tells of a pass beside its sums. */
interface Counts {
  /** Tokens that the modules of each capture saw, in the order of the pass. */
  readonly tokens: readonly number[];
  /** What its forward products ran on. */
  readonly products: string;
}

export async function reduce(work: LayerAtWork, pass: Pass, { tree }: PassStatistics): Promise<void> {
  const { share } = work.services;
  if (!share || !tree) return;
  await tree.finish();
  const own = ownCaptures(work, pass);
  const names = shareNames(share.plan, work.index);
  // What others wait for goes while this job waits for theirs.
  const giving = waitLater(giveAway({ work, pass, share, names, tree }));
  try {
    for (const capture of own) await joinCapture(work, capture, { share, names, tree });
    const counts = await takeCounts(work, pass, share, names);
    for (const capture of own) {
      const place = pass.captures.indexOf(capture);
      for (const { tokens } of counts) tree.addTokens(capture, tokens[place] ?? 0);
    }
  } finally {
    await giving;
  }
  for (const capture of pass.captures) if (!own.includes(capture)) tree.release(capture);
}

/** The captures of a pass whose modules this job quantizes. */
export function ownCaptures(
  { layer, services: { share } }: LayerAtWork,
  { captures }: Pass,
): readonly Capture[] {
  if (!share) return captures;
  const owners = ownersOf(captures, layer.tasks, share.plan.of);
  return captures.filter((capture) => owners.get(capture) === share.plan.index);
}

interface Given {
  readonly work: LayerAtWork;
  readonly pass: Pass;
  readonly share: ShareAtWork;
  readonly names: ShareNames;
  readonly tree: HessianTree;
}

async function giveAway({ work, pass, share, names, tree }: Given): Promise<void> {
  const { layer, services } = work;
  if (share.plan.of === 1) return;
  const own = ownCaptures(work, pass);
  const counts: Counts = {
    tokens: pass.captures.map((capture) => tree.tokens(capture)),
    products: share.products,
  };
  const puts: Promise<void>[] = [];
  try {
    for (const capture of pass.captures.filter((candidate) => !own.includes(candidate))) {
      const place = layer.captures.indexOf(capture);
      for (const { first, end, matrix } of tree.sums(capture)) {
        for (const [index, { panel, buffer }] of heldPanels(matrix).entries()) {
          const bytes = await services.readbacks.readBytes(buffer, 0, panelBytes(panel));
          puts.push(waitLater(share.exchange.put(names.panel(place, { first, end }, index), [bytes])));
        }
      }
    }
    await Promise.all(puts);
  } finally {
    await Promise.allSettled(puts);
  }
  const text = new TextEncoder().encode(JSON.stringify(counts));
  await share.exchange.put(names.counts(pass.index, share.plan.index), [text]);
}

/** That it fails before it is waited for is no unhandled rejection. */
function waitLater<Result>(promise: Promise<Result>): Promise<Result> {
  promise.catch(() => undefined);
  return promise;
}

/** What the other shares counted; once they are there, their sums are, too. */
async function takeCounts(
  { step }: LayerAtWork,
  pass: Pass,
  { plan, exchange, products }: ShareAtWork,
  names: ShareNames,
): Promise<Counts[]> {
  const all: Counts[] = [];
  for (let from = 0; from < plan.of; from++) {
    if (from === plan.index) continue;
    const what = `its sums over its samples in ${step.name}`;
    const bytes = await exchange.take(names.counts(pass.index, from), { from, what });
    const counts = JSON.parse(new TextDecoder().decode(bytes)) as Counts;
    if (counts.products !== products)
      throw new ExchangeError(
        `Share ${from + 1} computes forward passes on ${counts.products}, this one on ${products}: their sums do not belong together. Run all shares on GPUs of one kind, or with --forward-products F32.`,
      );
    all.push(counts);
  }
  return all;
}

async function joinCapture(
  { layer, services, step }: LayerAtWork,
  capture: Capture,
  { share, names, tree }: Pick<Given, "share" | "names" | "tree">,
): Promise<void> {
  const { plan, exchange } = share;
  const authors = plan.chunks.flatMap((range, from) =>
    from === plan.index ? [] : nodesOf(range).map((node) => ({ node, from })),
  );
  const place = layer.captures.indexOf(capture);
  const what = `its Hessians of ${step.name}`;
  const { panels } = layOutTriangle(capture.columns, services.gpu.device.limits.maxStorageBufferBindingSize);
  const take = (author: (typeof authors)[number] | undefined) =>
    author === undefined
      ? []
      : Array.from(panels.keys(), (panel) =>
          waitLater(exchange.take(names.panel(place, author.node, panel), { from: author.from, what })),
        );
  // A sum comes while the one before it is added.
  const coming = new Map([[authors[0]?.node, take(authors[0])]]);
  const nodes = authors.map(({ node }) => node);
  await tree.join(capture, nodes, async (node, to) => {
    const at = nodes.indexOf(node);
    const taken = coming.get(node) ?? [];
    coming.delete(node);
    coming.set(nodes[at + 1], take(authors[at + 1]));
    for (const [index, panel] of panels.entries()) {
      const bytes = await taken[index];
      const buffer = to.buffers[index];
      invariant(bytes && buffer, "a buffer for each panel");
      checkPanel(bytes, panelBytes(panel), `Share ${(authors[at]?.from ?? 0) + 1}`, step.name);
      await services.uploads.write(bytes, buffer);
    }
  });
}

function checkPanel(bytes: Uint8Array, due: number, author: string, layer: string): void {
  if (bytes.byteLength === due) return;
  throw new ExchangeError(
    `${author} gave ${bytes.byteLength} bytes of a Hessian of ${layer} where ${due} are due. Delete the exchange folder and begin all shares again.`,
  );
}

/** Removes what this job gave away of a layer, once all of its modules are quantized. */
export async function dropSums(work: LayerAtWork): Promise<void> {
  const { services, layer, schedule } = work;
  const { share } = services;
  if (!share || share.plan.of === 1) return;
  const { plan, exchange } = share;
  const names = shareNames(plan, work.index);
  const range = plan.chunks[plan.index];
  invariant(range, "each share has chunks");
  for (const [index, captures] of schedule.passes.entries()) {
    const owners = ownersOf(captures, layer.tasks, plan.of);
    for (const capture of captures.filter((candidate) => owners.get(candidate) !== plan.index)) {
      const { panels } = layOutTriangle(
        capture.columns,
        services.gpu.device.limits.maxStorageBufferBindingSize,
      );
      for (const node of nodesOf(range))
        for (const panel of panels.keys())
          await exchange.drop(names.panel(layer.captures.indexOf(capture), node, panel));
    }
    await exchange.drop(names.counts(index, plan.index));
  }
}
