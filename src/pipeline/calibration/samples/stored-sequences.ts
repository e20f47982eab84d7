// The token sequences of a job, in its folder: going on after a reload needs neither the text nor the tokenizer again.

import type { CalibrationSet } from "../../../calibrate/select-sequences.ts";
import { CalibrationError, StorageError } from "../../../errors.ts";
import { openForWriting } from "../../../offload/open-for-writing.ts";
import { storageFailure } from "../../../offload/storage-failure.ts";
import { writeWhole } from "../../../offload/write-whole.ts";
import { fileStore } from "../../../storage-answer.ts";

const FILE = "calibration.bin";

/** Writes counts and ids as little-endian u32: sequences, then each one's length, then all ids. */
export async function writeSequences(job: FileSystemDirectoryHandle, set: CalibrationSet): Promise<void> {
  const words = new Uint32Array(1 + set.sequences.length + set.tokens);
  words[0] = set.sequences.length;
  let position = 1 + set.sequences.length;
  for (const [index, sequence] of set.sequences.entries()) {
    words[1 + index] = sequence.length;
    words.set(sequence, position);
    position += sequence.length;
  }
  try {
    const handle = await openForWriting(job, FILE);
    try {
      handle.truncate(0);
      writeWhole(handle, words, 0);
      handle.flush();
    } finally {
      handle.close();
    }
  } catch (cause) {
    throw storageFailure("The job's calibration tokens", words.byteLength, cause);
  }
}

/** @throws CalibrationError if the job has none. */
export async function readSequences(job: FileSystemDirectoryHandle): Promise<CalibrationSet> {
  let words: Uint32Array;
  try {
    const file = await fileStore((await fileStore(job.getFileHandle(FILE))).getFile());
    words = new Uint32Array(await fileStore(file.arrayBuffer()));
  } catch (cause) {
    if (cause instanceof StorageError) throw cause;
    throw new CalibrationError(
      "The calibration tokens of this job are gone from the browser's storage. Choose the text again.",
      { cause },
    );
  }
  const count = words[0] ?? 0;
  let position = 1 + count;
  const sequences = Array.from(words.subarray(1, 1 + count), (length) => {
    const sequence = words.slice(position, position + length);
    position += length;
    return sequence;
  });
  return { sequences, tokens: words.length - 1 - count, notes: [] };
}
