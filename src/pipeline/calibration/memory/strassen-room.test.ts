import { expect, it } from "vitest";
import type { ForwardProducts } from "../../../formats/recipe/forward-products.ts";
import { leastStrassen, strassenRequests } from "../../../gpu/matmul/strassen/strassen-size.ts";
import type { Linear } from "../../../model/weight-description.ts";
import type { GpuLimits } from "../costs/calibration-memory.ts";
import type { LayerSchedule } from "../fit/layer-schedule.ts";
import { findStrassenRoom } from "./strassen-room.ts";

const GIB = 1024 ** 3;
const LIMITS: GpuLimits = { budgetBytes: 8 * GIB, maxBufferBytes: 2 * GIB };
const PEAK = 5 * GIB;

/** A job with Linears of these sizes (rows, columns), whose largest batch has so many tokens. */
function jobOf(sizes: readonly (readonly [number, number])[], tokens = 8192, resident = true) {
  const linears = sizes.map(([rows, columns]) => ({ rows, columns }) as Linear);
  const batch = { first: 0, starts: [0, tokens], tokens, firstToken: 0 };
  // A batch has a unit of samples, whatever was asked for.
  const shape = { maxTokens: 1, mlpTokens: tokens, tileBytes: 1, ring, readbackRing: ring };
  // Samples leave it while they collect, so that none are propagated alone.
  const layers = [{ resident, leaves: true } as LayerSchedule];
  const plan = {
    batches: [batch],
    layers,
    shape,
    hidden: { streams: 1 },
    peakBytes: PEAK,
  };
  const job = { plan, layers: [{ linears }], asideBytes: 0 };
  return job as unknown as Parameters<typeof findStrassenRoom>[0];
}

const ring = { pieceBytes: 1, pieces: 1 };
const LARGE = [
  [4096, 4096],
  [14_336, 4096],
  [1024, 4096],
] as const;

it("gives what holds the largest products, and counts it", () => {
  const largest = { m: 8192, n: 14_336, k: 4096 };
  const bytes = strassenRequests(leastStrassen(largest)).reduce((sum, request) => sum + request.bytes, 0);
  expect(bytes).toBe(7 * (2 * 8192 * 4096 + 4096 * 4096) + 4 * (8192 + 4096 + 4096));
  const place = { ...leastStrassen(largest), stays: true, scratch: null };
  for (const wanted of ["AUTO", "F32_STRASSEN"] as const)
    expect(findStrassenRoom(jobOf(LARGE), wanted, LIMITS)).toEqual({ place, bytes });
  expect(findStrassenRoom(jobOf(LARGE), "F32", LIMITS)).toBeNull();
});

it("leaves them to jobs without matrix units, but where they are asked for", () => {
  const limits = { ...LIMITS, hasMatrixUnits: true };
  expect(findStrassenRoom(jobOf(LARGE), "AUTO", limits)).toBeNull();
  expect(findStrassenRoom(jobOf(LARGE), "F32_STRASSEN", limits)).not.toBeNull();
});

it.each([
  ["no product of this model is so large, in batches of 512 tokens", jobOf(LARGE, 512), {}],
  ["no product of this model", jobOf([[1024, 1024]]), {}],
  ["does not hold a layer's weights at once", jobOf(LARGE, 8192, false), {}],
  ["need buffers of 224 MiB, and this GPU binds 128 MiB", jobOf(LARGE), { maxBufferBytes: GIB / 8 }],
  ["beside the 5 GiB of the job, and the GPU budget is 5.25 GiB", jobOf(LARGE), { budgetBytes: 5.25 * GIB }],
])("has none where %s, and says so to whoever asks by name", (reason, job, limits) => {
  const find = (wanted: ForwardProducts) => findStrassenRoom(job, wanted, { ...LIMITS, ...limits });
  expect(find("AUTO")).toBeNull();
  expect(() => find("F32_STRASSEN")).toThrow(reason);
});
