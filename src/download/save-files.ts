import { offerFile } from "./offer-file.ts";
import type { ResultFile } from "./result-files.ts";

/** Browsers drop downloads that are started in one breath, and ask once whether several are allowed. */
const BETWEEN_MS = 300;

/** Starts one download a file. A download has no folders, so "a/b" is saved as "a_b", as browsers would do silently. */
export async function saveFiles(files: readonly ResultFile[]): Promise<void> {
  for (const [index, file] of files.entries()) {
    if (index > 0) await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS));
    offerFile(await file.open(), file.path.replaceAll("/", "_"));
  }
}
