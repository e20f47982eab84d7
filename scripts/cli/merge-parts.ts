// The bytes of a merge: parts are opened and held against what they say of themselves, then copied, a tensor after the other.

import { createHash } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { invariant, MalformedModelError, PartsError } from "../../src/errors.ts";
import {
  HEADER_PREFIX_BYTES,
  parseHeader,
  parseHeaderLength,
  type TensorEntry,
  type TensorSpec,
} from "../../src/formats/safetensors.ts";
import {
  layOutShards,
  type OutputPlan,
  type OutputShard,
  type ShardRules,
} from "../../src/formats/shards.ts";
import { CARD, isHashed, RECEIPT, REPORT } from "../../src/formats/result-documents.ts";
import { INDEX_FILE } from "../../src/formats/safetensors-index.ts";
import { showValue } from "../../src/formats/show-value.ts";
import { describeResult } from "../../src/package/describe-result.ts";
import { type FoundPart, joinParts } from "../../src/package/join-parts.ts";
import { MAX_PART_BYTES, PART_FILE, parsePartDocument } from "../../src/package/part-document.ts";
import type { OutputFile } from "../../src/api/compressor-api.ts";
import type { Receipt } from "../../src/api/receipt.ts";
import { checkPartHashes, MAX_RECEIPT_BYTES } from "./check-part-hashes.ts";
import { openPartFile, readPartFile, readPartFileIfAny } from "./read-part-file.ts";
import { readReceipt } from "./read-receipt.ts";

const COPY_BYTES = 16 * 1024 ** 2;
const CONFIG = "config.json";
const MAX_CONFIG_BYTES = 16 * 1024 ** 2;

/** Where a tensor of a part lies. */
interface Place {
  readonly file: FileHandle;
  readonly path: string;
  readonly entry: TensorEntry;
}

/**
 * Writes the model that the parts make into `out`, as the job that was not divided writes it. A file appears under its name
 * once all of it is written, config.json and the receipt last.
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
  const { tensors, rest, facts } = joinParts(parts);
  const specs = tensors.map(({ spec }) => spec);
  const config = await sameConfig(parts);
  await using opened = await openParts(parts);
  checkTensors(specs, opened.places);
  const plan = layOutShards(specs, rules);
  checkNames(rest, plan);
  for (const part of parts) await checkPartHashes(part);
  const receipt =
    (await readPartFileIfAny(join(rest.folder, RECEIPT), MAX_RECEIPT_BYTES))?.toString() ?? null;
  const files = createFiles(out);
  for (const shard of plan.shards)
    await files.put(shard.path, async (write) => await copyShard(shard, opened.places, write));
  for (const { path, bytes } of rest.document.carried)
    await files.put(path, async (write) => await write(await readPartFile(join(rest.folder, path), bytes)));
  for (const [path, content] of describeResult(facts, plan))
    await files.put(path, async (write) => await write(Buffer.from(content)));
  await files.put(CONFIG, async (write) => await write(config));
  if (receipt !== null) {
    const text = receiptFor(join(rest.folder, RECEIPT), receipt, files.written());
    await files.put(RECEIPT, async (write) => await write(Buffer.from(text)));
  }
  return files.written().map(({ path, bytes }) => ({ path, bytes }));
}

/** The receipt of the job as the rest's has it, of the files that the parts make. */
function receiptFor(path: string, text: string, written: readonly Written[]): string {
  readReceipt(text, path);
  const receipt = JSON.parse(text) as Receipt;
  const { part: _, ...options } = receipt.options;
  const files = written.filter(({ path: name }) => isHashed(name));
  return `${JSON.stringify({ ...receipt, options, files }, null, 2)}\n`;
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

async function openParts(parts: readonly FoundPart[]) {
  const files: FileHandle[] = [];
  const places = new Map<string, Place>();
  const close = async () => void (await Promise.allSettled(files.map(async (file) => await file.close())));
  try {
    for (const { folder, document } of parts) {
      for (const shard of document.shards) {
        const path = join(folder, shard.path);
        const file = await openPartFile(path);
        files.push(file);
        for (const entry of await readEntries(file, path, shard.bytes))
          places.set(entry.name, { file, path, entry });
      }
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { places, [Symbol.asyncDispose]: close };
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

async function copyShard(
  { header, entries }: OutputShard,
  places: ReadonlyMap<string, Place>,
  write: Write,
): Promise<void> {
  await write(header);
  for (const { name } of entries) {
    const place = places.get(name);
    invariant(place, "the tensors were checked");
    const { file, path, entry } = place;
    for (let start = entry.start; start < entry.end; start += COPY_BYTES)
      await write(await readRange(file, path, start, Math.min(start + COPY_BYTES, entry.end)));
  }
}

async function readRange(file: FileHandle, path: string, start: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start);
  let filled = 0;
  while (filled < bytes.byteLength) {
    const { bytesRead } = await file.read(bytes, filled, bytes.byteLength - filled, start + filled);
    if (bytesRead === 0)
      throw new MalformedModelError(`${path} ended in the middle of a tensor: it was changed meanwhile.`);
    filled += bytesRead;
  }
  return bytes;
}

type Write = (bytes: Uint8Array) => Promise<void>;

interface Written extends OutputFile {
  readonly sha256: string;
}

/** Files of a folder, each under another name until it is whole. */
function createFiles(out: string) {
  const written: Written[] = [];
  const fillIn = async (draft: string, path: string, fill: (write: Write) => Promise<void>) => {
    const file = await open(draft, "w");
    const hash = createHash("sha256");
    let bytes = 0;
    try {
      await fill(async (piece) => {
        hash.update(piece);
        bytes += piece.byteLength;
        await file.writeFile(piece);
      });
      await file.sync();
    } finally {
      await file.close();
    }
    written.push({ path, bytes, sha256: hash.digest("hex") });
  };
  return {
    /** Sorted by path. */
    written: () => written.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
    async put(path: string, fill: (write: Write) => Promise<void>) {
      const target = join(out, path);
      const draft = `${target}.unfinished`;
      await mkdir(dirname(target), { recursive: true });
      try {
        await fillIn(draft, path, fill);
        await rename(draft, target);
      } catch (error) {
        await rm(draft, { force: true });
        throw error;
      }
    },
  };
}
