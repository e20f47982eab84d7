// The three ways to the user's disk, each with the picker that it needs and the sentence that it ends with.

import { invariant } from "../errors.ts";
import type { SampledPlaces } from "../formats/files/sampled-places.ts";
import { deleteStagedZips, saveStagedZip, saveZip } from "./save-zip.ts";
import { saveFiles } from "./save-files.ts";
import { sendFile } from "./send-file.ts";
import { saveFolder } from "./save-folder.ts";
import { resultFiles } from "./result-files.ts";
import { sampleFile } from "./sample-file.ts";

/** What Chromium has and TypeScript's library does not (File System Access). */
export interface Pickers {
  readonly showDirectoryPicker?: (options: {
    readonly id: string;
    readonly mode: "readwrite";
  }) => Promise<FileSystemDirectoryHandle>;
  readonly showSaveFilePicker?: (options: {
    readonly id: string;
    readonly suggestedName: string;
    readonly types: readonly { readonly accept: Readonly<Record<string, readonly string[]>> }[];
  }) => Promise<FileSystemFileHandle>;
}

export interface SavedModel {
  readonly jobId: string;
  readonly name: string;
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
}

type OnBytes = (savedBytes: number) => void;

/** Remembered by the browser, so that the picker opens where it was used last. */
const PICKER_ID = "layerpress-models";

/** Each function must be called from a click, since a picker needs one; all end with an AbortError if it is dismissed. */
export function createDownload(pickers: Pickers) {
  const { showDirectoryPicker, showSaveFilePicker } = pickers;
  return {
    canSaveFolder: showDirectoryPicker !== undefined,
    async saveFolder({ jobId, name, files }: SavedModel, onBytes: OnBytes): Promise<string> {
      if (!showDirectoryPicker) throw new Error("Defect: this browser has no folder picker.");
      const list = resultFiles(jobId, files);
      const parent = await showDirectoryPicker.call(pickers, { id: PICKER_ID, mode: "readwrite" });
      const saved = await saveFolder(list, parent, name, onBytes);
      return `Saved as ${saved} in the folder ${parent.name}.`;
    },
    async saveFiles({ jobId, files }: SavedModel): Promise<string> {
      await saveFiles(resultFiles(jobId, files));
      return `${files.length} files were handed to the browser’s downloads. Put them into one folder to load them.`;
    },
    async saveZip({ jobId, name, files }: SavedModel, onBytes: OnBytes): Promise<string> {
      const list = resultFiles(jobId, files);
      if (!showSaveFilePicker) {
        await saveStagedZip(list, name, onBytes);
        return `${name}.zip was handed to the browser’s downloads.`;
      }
      const types = [{ accept: { "application/zip": [".zip"] } }];
      const suggestedName = `${name}.zip`;
      const target = await showSaveFilePicker.call(pickers, { id: PICKER_ID, suggestedName, types });
      await saveZip(list, target, name, onBytes);
      return `Saved as ${target.name}.`;
    },
    /** For the command line: browsers stop a page that starts more than ten downloads by itself. */
    async sendFiles({ jobId, files }: SavedModel, addressOf: (path: string) => string): Promise<void> {
      for (const file of resultFiles(jobId, files)) await sendFile(file, addressOf(file.path));
    },
    /** Of one file, for the command line, which may have found it on the disk. */
    async sampleFile({ jobId, files }: SavedModel, places: SampledPlaces): Promise<string> {
      const [file] = resultFiles(jobId, files);
      invariant(file, "a file is sampled");
      return await sampleFile(file, places);
    },
    /** To be called once a visit. */
    tidyUp: deleteStagedZips,
  };
}
