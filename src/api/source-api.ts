// The contract with the network thread: where a model lies, and its bytes. Types only.

import type { FileRange } from "../formats/files/file-ranges.ts";

/** What the user pointed at: an address as typed, pasted or dragged, or files that stay where they are. */
export type SourceReference =
  | { readonly kind: "address"; readonly address: string }
  | { readonly kind: "files"; readonly files: readonly DroppedFile[] };

export interface DroppedFile {
  /** Path inside the dropped folder, "/" between its parts; just the name for single files. */
  readonly path: string;
  readonly file: File;
}

export interface SourceFile {
  readonly path: string;
  readonly bytes: number;
  /** What the server calls these bytes: an ETag, on the Hub a SHA-256 or a git blob's SHA-1. Absent where it does not say. */
  readonly version?: string;
}

/** A model folder that has been found and pinned: the same key means the same bytes, for ever. */
export interface OpenedSource {
  /** Identity of repository and revision (commit, or ETags and sizes): cache chunks and journals are keyed by it. */
  readonly key: string;
  /** For people: "meta-llama/Llama-3.2-1B @ 4e20de3", "models.example.org/tiny", "local folder tiny". No beginning of a sentence. */
  readonly label: string;
  /** Name of the model without its host or owner: names the result folder. */
  readonly name: string;
  /** Hub repository ("owner/name") for the model card's `base_model`, or null elsewhere. */
  readonly repository: string | null;
  /** Pinned commit, or null where there is none. */
  readonly revision: string | null;
  /** Host that bytes come from, or null for dropped files. */
  readonly host: string | null;
  readonly files: readonly SourceFile[];
  /** True if the Hub gives it only to those who accepted its terms. */
  readonly gated?: boolean;
}

export interface SourceProgress {
  /** Bytes that came over the network in this session. */
  readonly downloadedBytes: number;
  /** Bytes per second over the last seconds; 0 while nothing flows. */
  readonly bytesPerSecond: number;
  /** Bytes of chunks that lie in IndexedDB for the open source. */
  readonly storedBytes: number;
  /** "waiting 8 s: the server answers 429 (too many requests)", or null while all is well. */
  readonly waiting: string | null;
}

/** The network thread: finds models, pulls byte ranges into IndexedDB, hands them out. */
export interface SourceApi {
  /** Finds the model's files and pins its revision. The token is kept in this worker's memory only. */
  open(reference: SourceReference, token: string | null): Promise<OpenedSource>;
  /** A small file whole; throws a MalformedModelError if it is larger than `maxBytes`. Not cached. */
  readFile(path: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer>>;
  /** A small range straight from the source (headers); not cached. */
  readRange(range: FileRange): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Any range, from stored chunks where they are there, else downloaded and stored.
   * @param spare the buffer of an array that is done with: it may be filled in place of a new one, and is given away
   */
  read(range: FileRange, spare?: ArrayBuffer): Promise<Uint8Array<ArrayBuffer>>;
  /** The same for the last time, unless the job breaks off: what is not stored by then is not stored any more. */
  take(range: FileRange, spare?: ArrayBuffer): Promise<Uint8Array<ArrayBuffer>>;
  /** Ranges that will be read soon, in that order; replaces what was asked before. Returns at once. */
  prefetch(ranges: readonly FileRange[]): void;
  /** Says that the job is over: what waits in memory to be read is given up, or stored. */
  release(): void;
  /** Says that a range will not be read again unless the job breaks off: it need not be stored if storing is too slow. */
  use(range: FileRange): void;
  /** Forgets stored chunks that lie wholly in ranges that are done with. */
  evict(ranges: readonly FileRange[]): Promise<void>;
  /** Rows of a Hub data set, in order from the first, through the Hub's rows service. */
  datasetRows(request: DatasetRequest): Promise<unknown[]>;
  /** Bytes of the ranges' chunks that are not stored yet: what a job has still to download. */
  missingBytes(ranges: readonly FileRange[]): Promise<number>;
  progress(): SourceProgress;
  /** Stops downloads until `resume`; reads wait. */
  pause(): void;
  resume(): void;
  /** What is stored, by source. */
  stored(): Promise<StoredSource[]>;
  /** Deletes the chunks of one source, or of all. */
  deleteStored(key: string | null): Promise<void>;
  /** Another thread's door to this worker. */
  connect(port: MessagePort): void;
}

export interface DatasetRequest {
  /** "HuggingFaceH4/ultrachat_200k" */
  readonly name: string;
  /** Null takes the data set's default. */
  readonly config: string | null;
  readonly split: string;
  readonly rows: number;
}

export interface StoredSource {
  readonly key: string;
  readonly label: string;
  readonly bytes: number;
}
