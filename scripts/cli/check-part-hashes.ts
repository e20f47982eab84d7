// What a part holds against what its receipt says: a bit that flipped on a disk or on a way between two machines is found
// before anything is merged.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { MalformedModelError } from "../../src/errors.ts";
import { RECEIPT } from "../../src/formats/result-documents.ts";
import type { FoundPart } from "../../src/package/join-parts.ts";
import { readPartFileIfAny } from "./read-part-file.ts";
import { readReceipt } from "./read-receipt.ts";

/** Twenty thousand files, each with a name and a hash. */
export const MAX_RECEIPT_BYTES = 64 * 1024 ** 2;

/**
 * Hashes a part's shards and compares with its receipt; parts that were saved by the page may have none.
 * @throws MalformedModelError that names the first shard whose bytes are others
 */
export async function checkPartHashes({ folder, document }: FoundPart): Promise<void> {
  const path = join(folder, RECEIPT);
  const text = await readPartFileIfAny(path, MAX_RECEIPT_BYTES);
  if (text === null) return;
  const stated = new Map(readReceipt(text.toString(), path).files.map((file) => [file.path, file.sha256]));
  for (const shard of document.shards) {
    const hash = createHash("sha256");
    await pipeline(createReadStream(join(folder, shard.path)), hash);
    if (hash.digest("hex") === stated.get(shard.path)) continue;
    throw new MalformedModelError(
      `${join(folder, shard.path)} has other bytes than ${path} says. It was damaged or changed since it was made: fetch or make it again.`,
    );
  }
}
