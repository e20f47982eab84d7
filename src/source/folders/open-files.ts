// Dropped files: read in place, never copied.

import { AccessError } from "../../errors.ts";
import { digestKey, MAX_FILES, type ModelFolder, plainName } from "./model-folder.ts";
import { isSourcePath } from "../../formats/files/safe-path.ts";
import type { DroppedFile } from "../../api/source-api.ts";

/**
 * Takes dropped files for a model folder; a folder that they all lie in is taken off their paths. Names that cannot be
 * files of a model ("a:b" cannot) are left out.
 * @throws AccessError if nothing is left, or if there are more than MAX_FILES
 */
export async function openFiles(dropped: readonly DroppedFile[]): Promise<ModelFolder> {
  if (dropped.length > MAX_FILES) {
    throw new AccessError(
      `What was chosen holds ${dropped.length} files, and at most ${MAX_FILES} are taken. Choose the folder of one model, the one with its config.json.`,
    );
  }
  const top = commonFolder(dropped.map(({ path }) => path));
  const files = new Map(
    dropped
      .map(({ path, file }): [string, File] => [path.slice(top.length), file])
      .filter(([path]) => isSourcePath(path)),
  );
  if (files.size === 0) {
    throw new AccessError(
      "None of the dropped files belongs to a model. Drop a folder with config.json and .safetensors files, or these files together.",
    );
  }
  const pinned = [...files].map(([path, file]) => ({ path, bytes: file.size, version: file.lastModified }));
  const folder = top.split("/").at(-2) ?? "";
  return {
    kind: "local",
    files,
    opened: {
      key: `files:${await digestKey("", pinned)}`,
      label: folder ? `local folder ${folder}` : "local files",
      name: plainName(folder),
      repository: null,
      revision: null,
      host: null,
      files: [...files].map(([path, file]) => ({ path, bytes: file.size })),
    },
  };
}

/** The longest "a/b/" that every path begins with. */
function commonFolder(paths: readonly string[]): string {
  const [first = ""] = paths;
  let end = first.lastIndexOf("/") + 1;
  while (end > 0 && !paths.every((path) => path.startsWith(first.slice(0, end)))) {
    end = first.lastIndexOf("/", end - 2) + 1;
  }
  return first.slice(0, end);
}

/**
 * Reads a range of a dropped file.
 * @throws AccessError if the file was changed or removed since it was dropped
 */
export async function readDropped(
  path: string,
  file: File,
  span: { readonly start: number; readonly end: number },
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await file.slice(span.start, span.end).arrayBuffer());
  } catch (cause) {
    throw new AccessError(
      `${path} cannot be read: it was changed, moved or removed since it was dropped, or you may not read it. Look at its permissions, and drop the folder again.`,
      { cause },
    );
  }
}
