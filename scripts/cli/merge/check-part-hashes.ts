// What a part holds against what its receipt says: a bit that flipped on a disk or on a way between two machines is found
// before anything is merged.

import { join } from "node:path";
import { MalformedModelError } from "../../../src/errors.ts";
import { RECEIPT } from "../../../src/formats/files/result-documents.ts";
import type { FoundPart } from "../../../src/package/join-parts.ts";
import type { RangesCopy } from "./copy-ranges.ts";
import { readPartFileIfAny } from "./read-part-file.ts";
import { readReceipt } from "../read-receipt.ts";

/** Twenty thousand files, each with a name and a hash. */
export const MAX_RECEIPT_BYTES = 64 * 1024 ** 2;

/** A shard of a part to be hashed, and what its receipt says of it. */
export interface HashCheck extends RangesCopy {
  readonly kind: "check";
  readonly path: string;
  readonly receipt: string;
  /** Undefined if the receipt does not name the shard. */
  readonly stated: string | undefined;
}

/** The shards of a part that are to be hashed; parts that were saved by the page may have no receipt, and none is hashed. */
export async function hashChecks({ folder, document }: FoundPart): Promise<HashCheck[]> {
  const receipt = join(folder, RECEIPT);
  const text = await readPartFileIfAny(receipt, MAX_RECEIPT_BYTES);
  if (text === null) return [];
  const stated = new Map(readReceipt(text.toString(), receipt).files.map((file) => [file.path, file.sha256]));
  return document.shards.map((shard) => {
    const path = join(folder, shard.path);
    const ranges = [{ path, start: 0, end: shard.bytes }];
    return {
      kind: "check",
      path,
      receipt,
      stated: stated.get(shard.path),
      header: new Uint8Array(),
      ranges,
      target: null,
    };
  });
}

/** @throws MalformedModelError that names the shard if its bytes are others */
export function checkHash({ path, receipt, stated }: HashCheck, sha256: string): void {
  if (sha256 === stated) return;
  throw new MalformedModelError(
    `${path} has other bytes than ${receipt} says. It was damaged or changed since it was made: fetch or make it again.`,
  );
}
