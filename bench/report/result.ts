// What a run of the benchmark says: the machine in the head, then one row a kernel and one entry a job. Types only; they
// are read by the page that measures and by the command that prints and compares.

import type { LongSubmit } from "../../src/gpu/queue/long-submit.ts";
import type { ForwardProducts } from "../../src/formats/recipe/forward-products.ts";

/** What the figures hold for. */
export interface BenchmarkHead {
  /** ISO 8601. */
  readonly date: string;
  /** Commit that the page was built from, with "+" if files were changed after it. */
  readonly commit: string;
  readonly userAgent: string;
  readonly adapter: {
    readonly vendor: string;
    readonly architecture: string;
    readonly device: string;
    /** What the driver calls itself, as far as the browser tells. */
    readonly description: string;
    readonly software: boolean;
  };
  /** Device and driver in the browser's own words; it tells them to the command that started it, and not to pages. */
  readonly driver?: string | null;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
  /** How GPU times were taken: queries on the GPU, or the clock around `onSubmittedWorkDone`. */
  readonly gpuClock: "timestamp-query" | "wall";
  /** True for tiny shapes, whose rates mean nothing. */
  readonly small: boolean;
}

/** Milliseconds of one run, over the repeats. */
export interface Milliseconds {
  readonly median: number;
  readonly min: number;
}

export interface KernelRow {
  /** "product.f32-nt/llama-3.1-8b/up_proj" */
  readonly name: string;
  readonly shape: string;
  /** What `work` counts: floating-point operations, or bytes that have to be moved at least. */
  readonly unit: "flop" | "byte";
  /** Units of one run. */
  readonly work: number;
  /** Time that the GPU was held; null where the run has no kernels to be timed, or failed. */
  readonly gpuMs: Milliseconds | null;
  /** Time from the first call until the last result, the host's part included; null if the run failed. */
  readonly wallMs: Milliseconds | null;
  /** Units per second, by the median of `gpuMs`, else of `wallMs`; 0 if the run failed. */
  readonly rate: number;
  /** `rate` over this run's ceiling for the unit (largest product; copy between buffers); null for transfers. */
  readonly share: number | null;
  readonly repeats: number;
  /** Why there are no figures, or null. */
  readonly failure: string | null;
}

/** A row before the ceilings of its run are known. */
export type MeasuredRow = Omit<KernelRow, "share">;

/** What stood when a job reported. */
export interface TimelinePoint {
  readonly seconds: number;
  readonly phase: string;
  readonly step: number;
  readonly downloadedBytes: number;
  readonly storedBytes: number;
  readonly doneBytes: number;
  readonly gpuBytes: number;
}

/** Peak resident bytes of the largest process of each kind; staging memory is in both. */
export interface HostPeaks {
  readonly page: number;
  readonly gpuProcess: number;
}

export interface EndToEndFigures {
  readonly sourceBytes: number;
  readonly resultBytes: number;
  /** Seconds of each phase of the job, and "total". */
  readonly seconds: Readonly<Record<string, number>>;
  /** Seconds of single stages with nothing else at work, on the same bytes. */
  readonly alone: {
    /** Bytes fetched and dropped. */
    readonly network: number;
    /** Bytes fetched into IndexedDB by the source worker: in results from when jobs' bytes still went through it. */
    readonly networkAndIndexedDb?: number;
    /** Bytes handed over by the source worker to a reader that keeps up; what was read is not stored. */
    readonly loading?: number;
    /** Tiles uploaded, quantized and read back; null for jobs that calibrate. */
    readonly gpu: number | null;
    /** The result written into OPFS. */
    readonly opfs: number;
  };
  /** The job's total over the slowest of the stages alone; null for jobs that calibrate. */
  readonly ratio: number | null;
  /** Operations that GPTQ cannot do without, by phase; null for data-free jobs. */
  readonly floor: Readonly<Record<"calibrating" | "quantizing" | "propagating", number>> | null;
  readonly peakGpuBytes: number;
  readonly worstSubmitMs: number;
  readonly longestSubmits: readonly LongSubmit[];
  readonly gpuBusySeconds: number;
  /** Most bytes of source chunks that lay in IndexedDB at once. */
  readonly peakStoredBytes: number;
  /** What the job's report remarks on. */
  readonly notes?: readonly string[];
  /** Seconds that GPTQ spent on each module, factorisation included; empty for data-free jobs. */
  readonly modules: readonly { readonly module: string; readonly seconds: number }[];
  readonly timeline: readonly TimelinePoint[];
}

export interface EndToEndRow {
  /** As the caller names it: "llama-3.1-8b, 2 layers". */
  readonly name: string;
  readonly address: string;
  readonly scheme: string;
  /** Sequences that GPTQ calibrated with; 0 for data-free jobs. */
  readonly samples: number;
  readonly tokensEach: number;
  readonly forwardProducts?: ForwardProducts;
  readonly gpuBudgetBytes: number;
  /** Host memory, as far as the command that started the browser can tell; the page leaves it out. */
  readonly hostPeaks?: HostPeaks | null;
  /** Null if the job failed. */
  readonly figures: EndToEndFigures | null;
  readonly failure: string | null;
}

export interface BenchmarkResult {
  readonly head: BenchmarkHead;
  /** Best float32 product and copy between buffers of this run, in units per second. */
  readonly ceilings: { readonly flop: number; readonly byte: number };
  readonly kernels: readonly KernelRow[];
  readonly endToEnd: readonly EndToEndRow[];
}
