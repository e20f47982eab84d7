// How far the inputs that modules share have drifted from those of the original model: (X̃ − X)ᵀX for each, grown beside the
// Hessians. The original model's samples run first, a batch at a time, and their inputs X̃ are kept; then the same batch runs as
// the quantized layers before have left it, with inputs X, and the same rows come by in the same order.

import { type Lifetime, madeOf } from "../../disposal.ts";
import { invariant } from "../../errors.ts";
import type { Gpu } from "../../gpu/gpu.ts";
import { bufferBytes, type LedgerBuffer } from "../../gpu/memory.ts";
import { type Matrix, matrixFrom } from "../../gpu/matmul/matmul.ts";
import type { RowRun } from "../../gpu/triangular/symmetric-rank-k-update.ts";
import { allocatePanels } from "../../gpu/panels.ts";
import { addOuterProduct, layOutSquare, type SquareMatrix } from "../../gpu/square-matrix.ts";
import type { Capture } from "../../model/layer-linears.ts";
import type { Collector } from "../collector.ts";
import { copyColumns } from "../forward/copy-columns/copy-columns.ts";
import type { Activations } from "../forward/layer-weights.ts";
import { createUnitCutter } from "../unit-rows.ts";
import { subtractRows } from "./subtract-rows.ts";

export interface InputDrifts extends Disposable {
  /** For the original model's run of a batch: keeps its inputs. */
  readonly keep: Collector;
  /** For the same batch behind it: adds 2 / samples · (X̃ − X)ᵀX, unit by unit. */
  readonly compare: Collector;
  /** Null for captures whose drift nobody wants. */
  drift(capture: Capture): SquareMatrix | null;
  /** Gives back what batches were kept in, once the last one has run. */
  finish(): void;
  /** Gives a drift's memory back as soon as its modules are quantized. */
  release(capture: Capture): void;
}

export interface DriftOptions {
  readonly samples: number;
  /** Of the largest batch. */
  readonly tokens: number;
  readonly maxPanelBytes: number;
}

/** GPU bytes of the drifts of these captures. */
export function driftBytes(captures: readonly Capture[], maxPanelBytes: number): number {
  return captures.reduce((sum, { columns }) => sum + layOutSquare(columns, maxPanelBytes).bytes, 0);
}

/** Bytes of the buffers that a batch's inputs are kept in. */
export function keptInputs(captures: readonly Capture[], tokens: number): number[] {
  return captures.map((capture) => keptBytes(capture, tokens));
}

/** GPU bytes of these buffers. */
export function keptInputBytes(captures: readonly Capture[], tokens: number): number {
  return keptInputs(captures, tokens).reduce((sum, bytes) => sum + bufferBytes(bytes), 0);
}

function keptBytes({ columns }: Capture, tokens: number): number {
  return tokens * strideOf(columns) * 4;
}

function strideOf(columns: number): number {
  return Math.ceil(columns / 4) * 4;
}

interface Input {
  readonly capture: Capture;
  readonly matrix: SquareMatrix;
  readonly kept: LedgerBuffer;
  /** Rows of the batch that were kept, and compared. */
  readonly rows: { kept: number; compared: number };
}

/** Allocates zero drifts for the captures of a pass. */
export async function openInputDrifts(
  gpu: Gpu,
  captures: readonly Capture[],
  options: DriftOptions,
): Promise<InputDrifts> {
  const inputs = new Map<Capture, Input>();
  await madeOf(async (parts) => {
    for (const capture of captures) inputs.set(capture, await openInput(gpu, capture, options, parts));
  });
  const byModule = new Map(
    [...inputs.values()].flatMap((input) => input.capture.modules.map((module) => [module, input])),
  );
  const release = (capture: Capture) => {
    inputs.get(capture)?.matrix[Symbol.dispose]();
    inputs.delete(capture);
  };
  const cutter = createUnitCutter();
  const finish = () => inputs.forEach(({ kept }) => kept[Symbol.dispose]());
  return {
    keep: {
      begin: () => inputs.forEach(({ rows }) => void (rows.kept = 0)),
      async onInput([module = ""], input) {
        const own = byModule.get(module);
        if (own) await copyColumns(gpu, input, place(own, input, "kept"));
      },
    },
    compare: {
      begin(batch) {
        cutter.begin(batch);
        for (const { rows } of inputs.values()) rows.compared = 0;
      },
      async onInput([module = ""], input) {
        const own = byModule.get(module);
        if (own)
          await addDrift(gpu, own, input, { units: cutter.cut(own, input), alpha: 2 / options.samples });
      },
    },
    drift: (capture) => inputs.get(capture)?.matrix ?? null,
    finish,
    release,
    [Symbol.dispose]() {
      finish();
      for (const capture of inputs.keys()) release(capture);
    },
  };
}

async function openInput(
  gpu: Gpu,
  capture: Capture,
  { tokens, maxPanelBytes }: DriftOptions,
  parts: Lifetime,
): Promise<Input> {
  const of = `${capture.modules[0]}'s input`;
  const layout = layOutSquare(capture.columns, maxPanelBytes);
  const matrix = parts.use(await allocatePanels(gpu.memory, `drift of ${of}`, layout));
  const rows = { label: `original of ${of}`, bytes: keptBytes(capture, tokens) };
  const kept = parts.use(await gpu.memory.allocate(rows));
  return { capture, matrix, kept, rows: { kept: 0, compared: 0 } };
}

/** Takes rows from those of the original model, whose place they have from then on. */
async function addDrift(
  gpu: Gpu,
  own: Input,
  input: Activations,
  { units, alpha }: { readonly units: readonly RowRun[]; readonly alpha: number },
): Promise<void> {
  const difference = place(own, input, "compared");
  invariant(own.rows.compared <= own.rows.kept, "the original model has seen the same tokens");
  await subtractRows(gpu, input, difference);
  for (const { first, rows } of units) {
    const unit = { a: matrixFrom(difference, first), b: matrixFrom(input, first), rows };
    await addOuterProduct(gpu, own.matrix, unit, alpha);
  }
}

/** Where the next rows of a batch lie among those that are kept. */
function place(
  { capture, kept, rows }: Input,
  input: Activations,
  what: keyof Input["rows"],
): Activations & Required<Matrix> {
  const stride = strideOf(capture.columns);
  const offset = rows[what] * stride;
  rows[what] += input.rows;
  return { buffer: kept, rows: input.rows, columns: stride, stride, offset };
}
