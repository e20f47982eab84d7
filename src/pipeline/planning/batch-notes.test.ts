import { expect, it } from "vitest";
import { batchesOf } from "../calibration/samples/sample-chunks.ts";
import { batchNotes, type SummedJob } from "./batch-notes.ts";

/** Sixteen units of 1,024 tokens, two in each sequence. */
const LENGTHS = Array.from({ length: 8 }, () => 2048);
const PLAIN = { forward_products: "AUTO", moe_calibrate_all_experts: true } as const;
const CHUNK = { m: 2048, n: 2048, k: 2048 };
const STRASSEN = { largest: CHUNK, chunk: CHUNK, stays: true, scratch: null };
const EXPERTS = { logits: 1, routes: 1, order: 1, input: 1, output: 1, gate: 0, sum: 0 };

interface Changed {
  readonly options?: Partial<SummedJob["options"]>;
  readonly plan?: Partial<SummedJob["plan"]>;
}

function job(maxTokens: number, mlpTokens: number, { options, plan }: Changed = {}): SummedJob {
  const batches = batchesOf(LENGTHS, { maxTokens, byChunk: false });
  const workspace = { mlpTokens, experts: null };
  return { plan: { batches, strassen: null, workspace, ...plan }, options: { ...PLAIN, ...options } };
}

const isTold = (one: SummedJob, other: SummedJob | null, hasMatrixUnits = false) =>
  batchNotes(one, [other], hasMatrixUnits).length > 0;

it("batches change no sum of plain float32, unless they have MLPs part units", () => {
  expect(isTold(job(2048, 1024), job(8192, 8192))).toBe(false);
  expect(isTold(job(2048, 2047), job(2048, 1024))).toBe(false);
  expect(isTold(job(2048, 512), job(4096, 512))).toBe(false);
  expect(isTold(job(2048, 512), job(2048, 1024))).toBe(true);
  expect(isTold(job(2048, 512), null)).toBe(false);
});

it("they do where more of a batch than a unit is looked at", () => {
  expect(isTold(job(2048, 1024), job(8192, 8192), true)).toBe(true);
  expect(isTold(job(2048, 1024), job(2048, 1024), true)).toBe(false);
  const float32 = { options: { forward_products: "F32" } } as const;
  expect(isTold(job(2048, 1024, float32), job(8192, 8192, float32), true)).toBe(false);
  expect(isTold(job(2048, 1024, { plan: { strassen: STRASSEN } }), job(8192, 8192))).toBe(true);
  const routed = {
    options: { moe_calibrate_all_experts: false },
    plan: { workspace: { mlpTokens: 1024, experts: EXPERTS } },
  };
  expect(isTold(job(2048, 1024, routed), job(8192, 1024, routed))).toBe(true);
});
