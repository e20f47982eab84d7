// What the interface needs from outside, handed in by main.tsx. Types only: the interface knows no worker, no file
// system and no lock, so that tests can stand in for all of them.

import type { CompressorApi, OutputFile } from "../../api/compressor-api.ts";
import type { AcrossThreads, Evaluator } from "../../api/across-threads.ts";
import type { SampledPlaces } from "../../formats/files/sampled-places.ts";
import type { MeasurementStore } from "./measurements/measurement-store.ts";
import type { PendingLogin, PublisherApi } from "../../api/publisher-api.ts";
import type { SourceApi } from "../../api/source-api.ts";

export type Compressor = AcrossThreads<
  Pick<
    CompressorApi,
    | "probe"
    | "inspect"
    | "plan"
    | "presets"
    | "start"
    | "survey"
    | "mixedRecipe"
    | "moduleReports"
    | "pause"
    | "resume"
    | "cancel"
    | "jobs"
    | "result"
    | "makeReceipt"
    | "deleteJob"
  >
>;

export type SourceStore = AcrossThreads<Pick<SourceApi, "stored" | "deleteStored" | "progress">>;

export type Publisher = AcrossThreads<PublisherApi>;

export interface SaveTarget {
  readonly jobId: string;
  /** Name of the folder, or of the zip without its ending. */
  readonly name: string;
  readonly files: readonly OutputFile[];
}

/**
 * Ways to the user's disk. Each resolves to a sentence that says where the result went, and ends with an AbortError
 * if the user dismisses the browser's picker.
 */
export interface Download {
  /** False where the browser cannot write into a folder of the user's choice. */
  readonly canSaveFolder: boolean;
  saveFolder(target: SaveTarget, onBytes: (savedBytes: number) => void): Promise<string>;
  saveFiles(target: SaveTarget): Promise<string>;
  saveZip(target: SaveTarget, onBytes: (savedBytes: number) => void): Promise<string>;
  /** Posts each file to its address. */
  sendFiles(target: SaveTarget, addressOf: (path: string) => string): Promise<void>;
  /** SHA-256 of pieces of the first file. */
  sampleFile(target: SaveTarget, places: SampledPlaces): Promise<string>;
}

/** The Hub that results are published to. */
export interface HubSettings {
  /** Its origin. */
  readonly url: string;
  /** This page's own application there, for signing in; null where the page's host has registered none. */
  readonly clientId: string | null;
}

/** What proves, when the browser comes back from the Hub's login, that it left from here. */
export type LoginProof = Pick<PendingLogin, "nonce" | "codeVerifier">;

export interface Platform {
  /** Keeps the machine awake and the tab unfrozen, and asks before leaving, until disposed. */
  holdForJob(): Disposable;
  /** True if the browser has promised not to delete this page's data by itself. */
  persisted(): Promise<boolean>;
  /** Asks for that promise; a browser may refuse without asking anybody. */
  persist(): Promise<boolean>;
  copyText(text: string): Promise<void>;
  reload(): void;
  /** Calls `leave` each time that the page is left, be it kept by the browser or not. */
  whenLeft(leave: () => void): void;
  /** Reloads into a newer build that lies ready; false while a job or an upload is under way in any tab. */
  takeUpdate(): Promise<boolean>;
  /** Goes to another page, and keeps what is needed when it comes back, in this tab alone. */
  leaveForLogin(url: string, proof: LoginProof): void;
  /** What was kept, once; the address is freed of what the login put into it. */
  takeLogin(): LoginProof | null;
  /** Calls `apply` with the newest value only: once a frame, or once a second while the page is hidden. */
  newestPerFrame<T>(apply: (value: T) => void): (value: T) => void;
}

export interface Services {
  readonly compressor: Compressor;
  readonly source: SourceStore;
  readonly evaluator: Evaluator;
  readonly publisher: Publisher;
  readonly hub: HubSettings;
  readonly measurements: MeasurementStore;
  readonly download: Download;
  readonly platform: Platform;
}
