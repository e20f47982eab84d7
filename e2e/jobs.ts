// What specs about whole jobs share: a model server on other origins, requests to the page's door, digests of results.

import { createHash } from "node:crypto";
import type { Page } from "@playwright/test";
import type { CalibrationRequest, CompressRequest } from "../src/api/script-api.ts";

const CALIBRATION: CalibrationRequest = {
  file: null,
  dataset: null,
  samples: null,
  maxSeqLength: null,
  seed: null,
  shuffle: false,
  propagateError: true,
  allExperts: true,
  minExpertTokens: null,
  hiddenStates: "F32",
  forwardProducts: "AUTO",
};

/** The page as the command line opens it: for jobs that nobody looks at, since drawing takes a fifth of what they take. */
export const UNSHOWN = "./?shown=no";

/** A request for the page's door that differs from the defaults in little. */
export function request(
  source: string,
  recipe: string,
  own: {
    groupSize?: number;
    ignore?: readonly string[];
    ids?: readonly (readonly number[])[];
    gpuBudgetBytes?: number | null;
  } = {},
): CompressRequest {
  const { groupSize = null, ignore = null, ids, gpuBudgetBytes = 256 * 1024 ** 2 } = own;
  const file = ids ? { name: "ids.json", text: JSON.stringify(ids) } : null;
  return {
    source,
    token: null,
    recipe: {
      text: recipe,
      groupSize,
      ignore,
      observer: null,
      dampeningFrac: null,
      actorder: null,
    },
    // What does not calibrate takes no order of samples.
    calibration: {
      ...CALIBRATION,
      file,
      samples: ids?.length ?? null,
      shuffle: !/^gptq-|^(FP8|NVFP4)$|:/i.test(recipe),
    },
    gpuBudgetBytes,
    keepSource: false,
  };
}

export interface JobFigures {
  readonly jobId: string;
  /** Name of the result's folder. */
  readonly name: string;
  readonly files: readonly string[];
  readonly peakGpuBytes: number;
  readonly plannedGpuBytes: number;
  readonly gpuBudgetBytes: number;
}

/** Runs a job through the page and resolves when its result lies in OPFS. */
export async function compress(page: Page, asked: CompressRequest): Promise<JobFigures> {
  return await page.evaluate(async (wanted) => {
    const { result, fit, jobId } = await globalThis.layerpress.compress(wanted);
    return {
      jobId,
      name: result.name,
      files: result.files.map(({ path }) => path),
      peakGpuBytes: result.peakGpuBytes,
      plannedGpuBytes: fit.peakGpuBytes,
      gpuBudgetBytes: fit.gpuBudgetBytes,
    };
  }, asked);
}

/** The sentence that a job ends with, which has to fail. */
export async function failureOf(page: Page, asked: CompressRequest): Promise<string> {
  return await page.evaluate(async (wanted) => {
    try {
      await globalThis.layerpress.compress(wanted);
      return "The job did not fail.";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }, asked);
}

/** A file of a job's result as it lies in OPFS: a page downloads ten at most by itself. */
export async function resultFile(page: Page, jobId: string, path: string): Promise<Buffer> {
  const url = await page.evaluate(
    async (parts) => {
      const name = parts.pop() ?? "";
      let folder = await navigator.storage.getDirectory();
      for (const part of parts) folder = await folder.getDirectoryHandle(part);
      const reader = new FileReader();
      const read = new Promise((resolve) => reader.addEventListener("load", resolve));
      reader.readAsDataURL(await (await folder.getFileHandle(name)).getFile());
      await read;
      return typeof reader.result === "string" ? reader.result : "";
    },
    ["layerpress", "jobs", jobId, "output", path],
  );
  return Buffer.from(url.slice(url.indexOf(",") + 1), "base64");
}

/** Downloads a file of the shown result. */
export async function download(page: Page, path: string): Promise<Buffer> {
  const [event] = await Promise.all([
    page.waitForEvent("download"),
    page.evaluate(async (name) => await globalThis.layerpress.save(name), path),
  ]);
  const pieces: Buffer[] = [];
  for await (const piece of await event.createReadStream()) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Token ids that repeat for ever the same way. */
export function tokenIds(sequences: number, length: number, vocab: number): number[][] {
  return Array.from({ length: sequences }, (_, row) =>
    Array.from({ length }, (__, at) => (row * 7919 + at * 104_729 + at * at * 31) % vocab),
  );
}
