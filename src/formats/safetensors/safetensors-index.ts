// model.safetensors.index.json: which shard holds which tensor. Comes from strangers, like the headers.
// Written by transformers' `save_pretrained`.

import { MalformedModelError } from "../../errors.ts";
import { parseJsonBytes } from "../text/parse-json.ts";
import { isSourcePath } from "../files/safe-path.ts";
import { shorten, showValue } from "../text/show-value.ts";

export const INDEX_FILE = "model.safetensors.index.json";
/** Largest real index is about 60 MB. */
export const MAX_INDEX_BYTES = 250_000_000;

/**
 * Parses an index into tensor name -> shard name.
 * @throws MalformedModelError if it is not JSON, has no weight_map, or names anything but a .safetensors file beside it.
 */
export function parseIndex(bytes: Uint8Array): Map<string, string> {
  const parsed = parseJsonBytes(INDEX_FILE, bytes);
  const weightMap =
    typeof parsed === "object" && parsed !== null && "weight_map" in parsed ? parsed.weight_map : null;
  if (typeof weightMap !== "object" || weightMap === null) {
    throw new MalformedModelError(`${INDEX_FILE} has no weight_map.`);
  }
  const entries = Object.entries(weightMap).map(([tensor, named]): [string, string] => {
    const file: unknown = typeof named === "string" ? named.replace(/^\.\//, "") : named;
    if (typeof file !== "string" || !isShardName(file)) {
      throw new MalformedModelError(
        `${INDEX_FILE} places the tensor "${shorten(tensor)}" in ${showValue(file)}, which is not the name of a file in this folder.`,
      );
    }
    return [tensor, file];
  });
  if (entries.length === 0) {
    throw new MalformedModelError(`${INDEX_FILE} names no tensors. It is damaged, or not this model's.`);
  }
  return new Map(entries);
}

/** A file beside the index: no folders, no way out. */
function isShardName(name: string): boolean {
  return isSourcePath(name) && !name.includes("/") && !name.startsWith(".") && name.endsWith(".safetensors");
}
