// The bytes of a merge: parts are held against what they say of themselves, then copied into the shards of the whole. Meanwhile
// both are hashed, each file in a thread, and no shard takes its name before all parts are found to be as they were made.

import { createHash } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { invariant, MalformedModelError, PartsError } from "../../../src/errors.ts";
import {
  HEADER_PREFIX_BYTES,
  parseHeader,
  parseHeaderLength,
  type TensorEntry,
  type TensorSpec,
} from "../../../src/formats/safetensors/safetensors.ts";
import {
  layOutShards,
  type OutputPlan,
  type OutputShard,
  type ShardRules,
} from "../../../src/formats/safetensors/shards.ts";
import { CARD, isHashed, RECEIPT, REPORT } from "../../../src/formats/files/result-documents.ts";
import { INDEX_FILE } from "../../../src/formats/safetensors/safetensors-index.ts";
import { showValue } from "../../../src/formats/text/show-value.ts";
import { describeResult } from "../../../src/package/describe-result.ts";
import { type FoundPart, joinParts } from "../../../src/package/join-parts.ts";
import { MAX_PART_BYTES, PART_FILE, parsePartDocument } from "../../../src/package/part-document.ts";
import { makeFolders } from "../make-folders.ts";
import type { OutputFile } from "../../../src/api/compressor-api.ts";
import type { Receipt } from "../../../src/api/receipt.ts";
import { checkHash, type HashCheck, hashChecks, MAX_RECEIPT_BYTES } from "./check-part-hashes.ts";
import { copyRanges, type RangesCopy } from "./copy-ranges.ts";
import { openPartFile, readPartFile, readPartFileIfAny } from "./read-part-file.ts";
import { readReceipt } from "../read-receipt.ts";
import { undoneBy } from "../../../src/ended-by.ts";

const CONFIG = "config.json";
const MAX_CONFIG_BYTES = 16 * 1024 ** 2;

/** Where a tensor of a part lies. */
interface Place {
  readonly path: string;
  readonly entry: TensorEntry;
}

/**
 * Writes the model that the parts make into `out`, as the job that was not divided writes it. Files appear under their names
 * once they are whole, shards all at once, config.json and the receipt last.
 * @returns the files, sorted by path
 * @throws PartsError if the parts do not make a whole, MalformedModelError if one of them is damaged
 */
export async function mergeParts(
  folders: readonly string[],
  out: string,
  rules?: ShardRules,
): Promise<OutputFile[]> {
  const parts: FoundPart[] = [];
  for (const folder of folders) parts.push({ folder, document: await readPart(folder) });
  const { tensors, rest, facts, forwardProducts } = joinParts(parts);
  const specs = tensors.map(({ spec }) => spec);
  const config = await sameConfig(parts);
  const places = await findTensors(parts);
  checkTensors(specs, places);
  const plan = layOutShards(specs, rules);
  checkNames(rest, plan);
  const checks = (await Promise.all(parts.map(hashChecks))).flat();
  const receipt =
    (await readPartFileIfAny(join(rest.folder, RECEIPT), MAX_RECEIPT_BYTES))?.toString() ?? null;
  const files = createFiles(out);
  await files.copy(
    plan.shards.map((shard) => shardCopy(shard, places)),
    checks,
  );
  for (const { path, bytes } of rest.document.carried)
    await files.put(path, await readPartFile(join(rest.folder, path), bytes));
  for (const [path, content] of describeResult(facts, plan)) await files.put(path, Buffer.from(content));
  await files.put(CONFIG, config);
  if (receipt !== null) {
    const text = receiptFor(join(rest.folder, RECEIPT), receipt, forwardProducts, files.written());
    await files.put(RECEIPT, Buffer.from(text));
  }
  return files.written().map(({ path, bytes }) => ({ path, bytes }));
}

/** The receipt of the job as the rest's has it, which had no samples, of the files that the parts make. */
function receiptFor(
  path: string,
  text: string,
  products: string | null,
  written: readonly Written[],
): string {
  readReceipt(text, path);
  const { files: _own, ...receipt } = JSON.parse(text) as Receipt;
  const ran = products === null ? {} : { forward_products: products };
  const { part: _, ...options } = receipt.options;
  const files = written.filter(({ path: name }) => isHashed(name));
  return `${JSON.stringify({ ...receipt, options, ...ran, files }, null, 2)}\n`;
}

async function readPart(folder: string) {
  const path = join(folder, PART_FILE);
  const text = await readPartFileIfAny(path, MAX_PART_BYTES);
  if (text === null)
    throw new PartsError(
      `${folder} has no ${PART_FILE}: it is no part, or its job has not ended. Run its npm run compress again; it goes on where it stopped.`,
    );
  return parsePartDocument(path, text.toString());
}

/** config.json is the whole result's in every part: where two differ, one was changed. */
async function sameConfig(parts: readonly FoundPart[]): Promise<Buffer> {
  const texts = await Promise.all(
    parts.map(async ({ folder }) => await readPartFile(join(folder, CONFIG), MAX_CONFIG_BYTES)),
  );
  const [first] = texts;
  invariant(first, "there is a part");
  const other = texts.findIndex((text) => !text.equals(first));
  if (other >= 0)
    throw new PartsError(
      `${parts[0]?.folder} and ${parts[other]?.folder} have different files config.json: one of them was changed. Make it again.`,
    );
  return first;
}

/** Where the tensors of all parts lie, by name. */
async function findTensors(parts: readonly FoundPart[]): Promise<ReadonlyMap<string, Place>> {
  const places = new Map<string, Place>();
  for (const { folder, document } of parts) {
    for (const shard of document.shards) {
      const path = join(folder, shard.path);
      await using file = await openPartFile(path);
      for (const entry of await readEntries(file, path, shard.bytes)) places.set(entry.name, { path, entry });
    }
  }
  return places;
}

async function readEntries(file: FileHandle, path: string, bytes: number): Promise<TensorEntry[]> {
  const { size } = await file.stat();
  if (size !== bytes)
    throw new MalformedModelError(
      `${path} has ${size} bytes where its part wrote ${bytes}. It was not copied whole, or was changed: fetch or make it again.`,
    );
  const prefix = await readRange(file, path, 0, HEADER_PREFIX_BYTES);
  const length = parseHeaderLength(path, prefix, size);
  const header = await readRange(file, path, HEADER_PREFIX_BYTES, HEADER_PREFIX_BYTES + length);
  return parseHeader(path, header, size);
}

/** Every tensor of the result lies in a part, as the documents have it. */
function checkTensors(specs: readonly TensorSpec[], places: ReadonlyMap<string, Place>): void {
  for (const { name, dtype, shape } of specs) {
    const entry = places.get(name)?.entry;
    if (entry?.dtype === dtype && JSON.stringify(entry.shape) === JSON.stringify(shape)) continue;
    throw new MalformedModelError(
      `${name} is not in the shards as the parts' ${PART_FILE} say. They were changed since they were made: make them again.`,
    );
  }
}

/** The small files that a part brings take the place of none that is made, nor of each other, nor of a folder. */
function checkNames({ folder, document }: FoundPart, plan: OutputPlan): void {
  const made = [...plan.shards.map(({ path }) => path), CONFIG, RECEIPT, PART_FILE, INDEX_FILE, CARD, REPORT];
  const taken = new Set(made.map((path) => path.toLowerCase()));
  const folders = new Set<string>();
  for (const { path } of document.carried) {
    const folded = path.toLowerCase();
    const above = folded.split("/").slice(0, -1);
    const parents = above.map((_, index) => above.slice(0, index + 1).join("/"));
    if (taken.has(folded) || folders.has(folded) || parents.some((parent) => taken.has(parent)))
      throw new MalformedModelError(
        `${join(folder, PART_FILE)} names ${showValue(path)} among the small files of its source, and the result has another file or folder of that name. It was changed since it was made: make it again.`,
      );
    taken.add(folded);
    for (const parent of parents) folders.add(parent);
  }
}

/** A shard of the result that is to be copied. */
interface ShardCopy extends RangesCopy {
  readonly kind: "shard";
  readonly path: string;
}

function shardCopy(
  { path, header, entries }: OutputShard,
  places: ReadonlyMap<string, Place>,
): Omit<ShardCopy, "target"> {
  const ranges = entries.map(({ name }) => {
    const place = places.get(name);
    invariant(place, "the tensors were checked");
    return { path: place.path, start: place.entry.start, end: place.entry.end };
  });
  return { kind: "shard", path, header, ranges };
}

async function readRange(file: FileHandle, path: string, start: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start);
  let filled = 0;
  while (filled < bytes.byteLength) {
    const { bytesRead } = await file.read(bytes, filled, bytes.byteLength - filled, start + filled);
    if (bytesRead === 0)
      throw new MalformedModelError(`${path} ended in the middle of its header: it was changed meanwhile.`);
    filled += bytesRead;
  }
  return bytes;
}

interface Written extends OutputFile {
  readonly sha256: string;
}

/** Files of a folder, each under another name until it is whole. */
function createFiles(out: string) {
  const written: Written[] = [];
  const targetOf = (path: string) => join(out, path);
  const draftOf = (path: string) => `${targetOf(path)}.unfinished`;
  /** Fills drafts of files in, then gives all of them their names. */
  const drafted = async (paths: readonly string[], fill: () => Promise<void>) => {
    const give = async () => {
      for (const path of paths) await makeFolders(dirname(targetOf(path)));
      await fill();
      for (const path of paths) await rename(draftOf(path), targetOf(path));
    };
    await undoneBy(give, async () => {
      await Promise.allSettled(paths.map(async (path) => await rm(draftOf(path), { force: true })));
    });
  };
  return {
    /** Sorted by path. */
    written: () => written.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
    async put(path: string, content: Uint8Array) {
      await drafted([path], async () => await writeFile(draftOf(path), content, { flush: true }));
      const sha256 = createHash("sha256").update(content).digest("hex");
      written.push({ path, bytes: content.byteLength, sha256 });
    },
    /** Copies shards while parts are checked. @throws MalformedModelError if a part is not as it was made */
    async copy(shards: readonly Omit<ShardCopy, "target">[], checks: readonly HashCheck[]) {
      const copies = shards.map((shard): ShardCopy => ({ ...shard, target: draftOf(shard.path) }));
      const paths = shards.map(({ path }) => path);
      await drafted(paths, async () => {
        await copyRanges(inTurns<ShardCopy | HashCheck>(copies, checks), (copy, copied) => {
          if (copy.kind === "check") checkHash(copy, copied.sha256);
          else written.push({ path: copy.path, ...copied });
        });
      });
    },
  };
}

/** Parts are checked about when they are copied, so that a disk is asked for their bytes once. */
function inTurns<Item>(some: readonly Item[], others: readonly Item[]): Item[] {
  const turns = Math.max(some.length, others.length);
  const pairs = Array.from({ length: turns }, (_, turn) => [some[turn], others[turn]]);
  return pairs.flat().filter((item) => item !== undefined);
}
