// An append-only record of a job, one JSON object a line: first what the job is, then each finished step. A step is
// written only after its tensors were flushed, so a crash costs the step that was under way and nothing else.

import { fileStore } from "../storage-answer.ts";
import { openForWriting } from "./open-for-writing.ts";
import { openingFailure, storageFailure } from "./storage-failure.ts";
import { writeWhole } from "./write-whole.ts";

const FILE = "journal.jsonl";

export interface JournalRecord {
  readonly type: string;
  readonly [field: string]: unknown;
}

export class Journal implements Disposable {
  readonly #handle: FileSystemSyncAccessHandle;
  readonly #records: JournalRecord[];
  #bytes: number;

  private constructor(handle: FileSystemSyncAccessHandle, records: JournalRecord[], bytes: number) {
    this.#handle = handle;
    this.#records = records;
    this.#bytes = bytes;
  }

  /** Opens a job's journal for writing, and cuts off a last line that a crash left torn. */
  static async open(job: FileSystemDirectoryHandle): Promise<Journal> {
    let handle: FileSystemSyncAccessHandle;
    try {
      handle = await openForWriting(job, FILE);
    } catch (cause) {
      throw storageFailure("The job's journal", 0, cause);
    }
    try {
      const bytes = new Uint8Array(handle.getSize());
      handle.read(bytes, { at: 0 });
      const { records, validBytes } = parseJournal(bytes);
      if (validBytes < bytes.byteLength) handle.truncate(validBytes);
      return new Journal(handle, records, validBytes);
    } catch (cause) {
      handle.close();
      throw storageFailure("The job's journal", 0, cause);
    }
  }

  get records(): readonly JournalRecord[] {
    return this.#records;
  }

  /** Appends one record and flushes it. */
  append(record: JournalRecord): void {
    const line = new TextEncoder().encode(`${JSON.stringify(record)}\n`);
    try {
      writeWhole(this.#handle, line, this.#bytes);
      this.#handle.flush();
    } catch (cause) {
      throw storageFailure("The job's journal", line.byteLength, cause);
    }
    this.#bytes += line.byteLength;
    this.#records.push(record);
  }

  [Symbol.dispose](): void {
    this.#handle.close();
  }
}

/** Records so far, and a place for the next one. */
export type JournalRecords = Pick<Journal, "records" | "append">;

/** Reads a journal without locking it: for listing jobs. Null if there is none. */
export async function readJournal(job: FileSystemDirectoryHandle): Promise<JournalRecord[] | null> {
  try {
    const file = await fileStore((await fileStore(job.getFileHandle(FILE))).getFile());
    return parseJournal(new Uint8Array(await fileStore(file.arrayBuffer()))).records;
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotFoundError") return null;
    throw openingFailure("The job's journal", error);
  }
}

/** Parses whole lines up to the first that is not a record. */
export function parseJournal(bytes: Uint8Array): { records: JournalRecord[]; validBytes: number } {
  const records: JournalRecord[] = [];
  let start = 0;
  for (let end = bytes.indexOf(10, start); end >= 0; end = bytes.indexOf(10, start)) {
    const record = parseLine(new TextDecoder().decode(bytes.subarray(start, end)));
    if (!record) break;
    records.push(record);
    start = end + 1;
  }
  return { records, validBytes: start };
}

function parseLine(line: string): JournalRecord | null {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}

function isRecord(value: unknown): value is JournalRecord {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}
