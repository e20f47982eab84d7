// The contract of a modifier that chooses codes. What it asks of a text, of the GPU and of time is known before a job begins;
// the layer's page (`src/pipeline/compress.ts`) asks each quantizer in turn, and none of them by name.

import type { ModuleReport } from "../api/compressor-api.ts";
import type { QuantizerName } from "../formats/modifiers/quantizers.ts";
import type { CompressionFormat, QuantizationArgs } from "../formats/schemes/quantization-args.ts";
import type { QuantizingModifier } from "../formats/recipe/recipe.ts";
import type { FloatDtype } from "../formats/numbers/dtype.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { LedgerBuffer } from "../gpu/memory.ts";
import type { ReadbackRing } from "../gpu/staging/readback-ring.ts";
import type { UploadRing } from "../gpu/staging/upload-ring.ts";
import type { SquareMatrix } from "../gpu/square-matrix.ts";
import type { TriangularMatrix } from "../gpu/triangular/triangular-matrix.ts";
import type { Capture } from "../model/layer-linears.ts";

/**
 * What can be collected of the input X that modules share: "hessian", 2 / sequences · XᵀX; "squares", Σx² of each column;
 * "drift", 2 / sequences · (X̃ − X)ᵀX with the input X̃ that they have in the original model.
 */
export type StatisticKind = "hessian" | "squares" | "drift";

/** One Linear and what it becomes. */
export interface QuantizerTask {
  readonly module: string;
  readonly dtype: FloatDtype;
  readonly rows: number;
  readonly columns: number;
  readonly weights: QuantizationArgs;
  readonly format: CompressionFormat;
  readonly modifier: QuantizingModifier;
  /** Names the set of modules that share this one's global scale; null if it shares none. */
  readonly fusedWith: string | null;
}

export interface QuantizerLimits {
  /** GPU bytes beside the statistics of the pass. */
  readonly freeBytes: number;
  readonly maxBufferBytes: number;
}

/** How the modules of a pass fit the GPU. */
export interface QuantizePhase {
  /** GPU bytes beside the statistics of the pass. */
  readonly bytes: number;
  /** Rows of each module's tiles. */
  readonly tileRows: ReadonlyMap<string, number>;
}

/** Where the rows of a weight come from, and where what their codes mean goes. */
export interface ModuleWeights {
  /** Puts rows, as they lie in the source, into a buffer. */
  load(firstRow: number, rows: number, to: LedgerBuffer): Promise<void>;
  /** Takes rows of the same layout from a buffer. */
  store(firstRow: number, rows: number, from: LedgerBuffer): Promise<void>;
}

/** The inputs of a pass's captures, as they were collected. */
export interface InputStatistics {
  hessian(capture: Capture): TriangularMatrix;
  /** Null where no module of the capture wants it. */
  drift(capture: Capture): SquareMatrix | null;
  /** Tokens that each capture's modules saw. */
  tokens(capture: Capture): number;
  /** Makes the statistics of a capture zero again. */
  clear(capture: Capture): Promise<void>;
  /** Gives a capture's memory back as soon as its modules are quantized. */
  release(capture: Capture): void;
}

/** A layer whose samples have run: what a quantizer works on. */
export interface QuantizerRun<Task extends QuantizerTask = QuantizerTask> {
  readonly gpu: Gpu;
  readonly uploads: UploadRing;
  readonly readbacks: ReadbackRing;
  /** Its modules, in the order of the file. */
  readonly tasks: readonly Task[];
  /** The captures that the pass has collected. */
  readonly pass: readonly Capture[];
  readonly statistics: InputStatistics;
  readonly phase: Pick<QuantizePhase, "tileRows">;
  /** The same in the order in which they are quantized. */
  readonly order: readonly Capture[];
  /** True if the modules' weights lie on the GPU: one module's codes may be read back while the next is computed. */
  readonly overlap: boolean;
  /** Says that a capture is next: those before it have given their memory back. */
  reaches(capture: Capture): void;
  weights(module: string): ModuleWeights;
  /** True for modules that saw too few tokens for their statistics to be trusted. */
  sawTooFew(capture: Capture, tokens: number): boolean;
  /** Rounds these to nearest, through tiles that the plan set aside for them. */
  round(tasks: readonly Task[]): Promise<void>;
  /** Puts a part of an output tensor into the result. */
  write(tensor: string, offset: number, bytes: Uint8Array<ArrayBuffer>): void;
  /** Waits while paused; throws once cancelled. */
  checkpoint(): Promise<void>;
  /** Milliseconds of a clock that stands still while paused. */
  readonly now: () => number;
  /** Tells which module is at work. */
  begins(module: string): void;
  /** Tells what became of a module whose codes are written and whose weights are stored, while others are at work. */
  ends(report: ModuleReport): void;
}

export interface Quantizer {
  readonly name: QuantizerName;
  /** What it wants to be collected of a module's input. */
  statistics(task: QuantizerTask): readonly StatisticKind[];
  /** True if its modules go through tiles that the plan sets aside (`QuantizerRun.round`), false if it has memory of its own. */
  readonly tiled: boolean;
  /** What verification may hold a code against: the nearest one to the weight, or only that it is in range. */
  readonly expects: "nearest" | "in range";
  /** Floating-point operations for modules that share an input of so many columns. */
  work(columns: number, tasks: readonly QuantizerTask[]): number;
  /** How a pass's modules fit; null if not even the smallest tiles do. */
  phase(
    tasks: readonly QuantizerTask[],
    pass: readonly Capture[],
    limits: QuantizerLimits,
  ): QuantizePhase | null;
  /** GPU bytes beside weights and statistics if one module's codes are read back while the next is computed. */
  overlapBytes(
    tasks: readonly QuantizerTask[],
    pass: readonly Capture[],
    phase: Pick<QuantizePhase, "tileRows">,
  ): number;
  /** Begins to compile the slowest kernels for these tasks; returns at once. */
  prepare(gpu: Gpu, tasks: readonly QuantizerTask[]): void;
  /** Quantizes the modules of a pass; resolves when their codes are written. */
  quantize(run: QuantizerRun): Promise<ModuleReport[]>;
}
