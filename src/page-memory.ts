// What a browser gives a page in host memory, where layers lie between the source and the GPU.

import { firstCause, MemoryError } from "./errors.ts";

/**
 * All array buffers of a page and its workers together: Chromium has a pool of 16 GiB for them, and gives 15 to 15.5 of it
 * (measured with buffers of 64 MiB to 1 GiB), however much the machine has.
 */
export const PAGE_BYTES = 15 * 1024 ** 3;

/**
 * What failed first, in words where the browser's own are that it had no memory for an array. It may come from another thread, and may go
 * to one, where nothing but its name and its sentence arrives.
 */
export function toldOfMemory(thrown: unknown): unknown {
  const error = firstCause(thrown);
  if (!(error instanceof Error) || error.name !== "RangeError") return error;
  if (!/allocation failed|array (buffer )?length/i.test(error.message)) return error;
  return new MemoryError(
    `The browser has no memory for what comes next (“${error.message}”): a page gets about 15 GiB for its data, or less on a machine with less. Reload the page to free what it holds. Fewer or shorter samples and a smaller GPU budget take less; a recipe that needs no calibration takes the least.`,
    { cause: error },
  );
}
