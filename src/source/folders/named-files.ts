// Files that other files of a folder name: a server that lists nothing has to be asked for each.

import { MalformedModelError } from "../../errors.ts";
import { checkDepth } from "../../formats/text/parse-json.ts";
import { parsePythonJson } from "../../formats/text/python-json.ts";
import { isSourcePath } from "../../formats/files/safe-path.ts";

/** A model has a handful of either; bounds what a file from outside can make us ask for. */
const MAX_NAMED = 32;

/**
 * Code that config.json, tokenizer_config.json and the like name in `auto_map`: "modeling_x.XForCausalLM" is modeling_x.py.
 * @throws MalformedModelError if it names too many
 */
export function codeFiles(path: string, config: Uint8Array): string[] {
  const value = parsed(path, config);
  const auto_map = isFields(value) ? value["auto_map"] : undefined;
  const named = isFields(auto_map) ? Object.values(auto_map).flat() : [];
  const files = named.flatMap((name) => {
    // "owner/name--module.Class" is code of another repository, which the loader fetches from there.
    const module = typeof name === "string" && !name.includes("--") ? name.split(".").slice(0, -1) : [];
    return module.length > 0 ? [`${module.join("/")}.py`] : [];
  });
  return bounded(path, files);
}

/**
 * What sentence-transformers' modules.json names: a folder for each module that keeps something.
 * @throws MalformedModelError if it names too many
 */
export function moduleFiles(path: string, modules: Uint8Array): string[] {
  const list = parsed(path, modules);
  const folders = Array.isArray(list)
    ? list.flatMap((entry: unknown) =>
        isFields(entry) && typeof entry["path"] === "string" && entry["path"] !== "" ? [entry["path"]] : [],
      )
    : [];
  return bounded(
    path,
    folders.flatMap((folder) => [`${folder}/config.json`, `${folder}/model.safetensors`]),
  );
}

function bounded(path: string, named: readonly string[]): string[] {
  const files = [...new Set(named)].filter(isSourcePath);
  if (files.length > MAX_NAMED) {
    throw new MalformedModelError(
      `${path} names ${files.length} other files, and ${MAX_NAMED} at most are asked for. Download the folder and drop it here instead: what it holds is listed then.`,
    );
  }
  return files;
}

/**
 * What is wrong with the file is told by who reads it.
 * @throws MalformedModelError if its values nest too deep
 */
function parsed(path: string, bytes: Uint8Array): unknown {
  const text = new TextDecoder().decode(bytes);
  checkDepth(path, text);
  try {
    return parsePythonJson(text);
  } catch {
    return null;
  }
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
