// A folder without config.json, and what it may be instead of a model's.

import { MalformedModelError, UnsupportedModelError } from "../../errors.ts";
import { shorten } from "../../formats/text/show-value.ts";

/** What to say of files that hold no config.json. */
export function noConfig(
  label: string,
  files: readonly { readonly path: string }[],
): MalformedModelError | UnsupportedModelError {
  const paths = files.map(({ path }) => path);
  if (paths.includes("adapter_config.json"))
    return new UnsupportedModelError(
      `An adapter (LoRA) is no model by itself, and ${label} holds one. Merge it into its model first (peft's merge_and_unload), and take the merged model's folder.`,
    );
  const deeper = paths
    .filter((path) => path.endsWith("/config.json"))
    .toSorted((a, b) => a.length - b.length);
  const folder = deeper[0]?.slice(0, -"/config.json".length);
  return new MalformedModelError(
    `There is no config.json in ${label}. ${
      folder === undefined
        ? "Point at the folder that holds config.json beside the safetensors files."
        : `${shorten(folder)} has one: point at that folder.`
    }`,
  );
}
