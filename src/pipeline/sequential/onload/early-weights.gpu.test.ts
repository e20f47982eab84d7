import { expect, it, vi } from "vitest";
import { ringBytes } from "../../../gpu/staging/ring-pieces.ts";
import { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import type { LayerDescription } from "../../../model/decoder-description.ts";
import type { Linear } from "../../../model/weight-description.ts";
import { type HostLayer, memoryLayer } from "../../../onload/host-layer.ts";
import { onloadLayer } from "../../../onload/layer-weights.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import type { PlannedStep } from "../../planning/planned-step.ts";
import { createEarlyWeights } from "./early-weights.ts";
import type { SequentialServices } from "../services.ts";

const KIB = 1024;
const RING = { pieceBytes: 64 * KIB, pieces: 2 };
const SHAPE = { ring: RING };
/** Rows of 256 bfloat16 values. */
const ROW_BYTES = 512;
const RESIDENCY = { residentBytes: 1024 * KIB, tileBytes: 64 * KIB };

const LINEARS = [
  ["large", 300],
  ["small", 64],
  ["other", 200],
] as const;

function linearOf([module, rows]: readonly [string, number]): Linear {
  return { module, rows, columns: 256, bias: null, source: { tensor: module, firstRow: 0 } } as Linear;
}

const linears = LINEARS.map(linearOf);

const host = memoryLayer(
  linears.map(({ module, rows }, place) => {
    const bytes = Uint8Array.from({ length: rows * ROW_BYTES }, (_, index) => (index * 7 + place) % 251);
    return [module, { dtype: "BF16", columns: 256, bytes }] as const;
  }),
);

/** Two steps, of which the second one's weights are wanted while samples run through the first. */
function earlyOf({ gpu }: TestGpu, earlyBytes: number, reading: Promise<HostLayer>) {
  const layer = { linears, rewritings: [], dtypeOf: () => "BF16", description: {} as LayerDescription };
  const schedule = { overlap: true, residency: { calibrate: [], propagate: RESIDENCY } };
  const steps = [{}, { calibrated: { layer, schedule, passed: null } }] as unknown as PlannedStep[];
  const plan = { shape: SHAPE, earlyBytes } as unknown as SequentialServices["plan"];
  const early = createEarlyWeights({ gpu, plan }, { coming: () => reading }, steps);
  const [first, second] = steps;
  if (!first || !second) throw new Error("there are two steps");
  return { early, first, second };
}

async function onload({ gpu }: TestGpu, come: ReturnType<ReturnType<typeof createEarlyWeights>["take"]>) {
  using uploads = await UploadRing.create(gpu, SHAPE.ring);
  return await onloadLayer(gpu, uploads, host, { linears, vectors: [], come }, RESIDENCY);
}

it("has those come that there is room for, small ones aside, and lie as all others do", async () => {
  using test = await openTestGpu();
  const before = test.gpu.memory.bytes;
  const { early, first, second } = earlyOf(test, 400 * ROW_BYTES, Promise.resolve(host));
  const whole = before + 300 * ROW_BYTES + ringBytes(RING);
  await early.bringDuring(first, async () => {
    await vi.waitFor(() => expect(test.gpu.memory.bytes).toBe(whole));
  });
  const come = early.take(second);
  expect([...come.keys()]).toEqual(["large"]);
  expect(test.gpu.memory.bytes - before).toBe(300 * ROW_BYTES);
  using layer = await onload(test, come);
  for (const { module, rows } of linears) {
    using to = await test.empty("rows", rows * ROW_BYTES);
    await layer.copyRows(module, 0, rows, to);
    const found = new Uint8Array((await test.readWords(to)).buffer);
    const { bytes } = host.tensors.get(module) ?? {};
    expect(found).toEqual(bytes?.read(0, rows * ROW_BYTES));
  }
  expect(early.take(second).size).toBe(0);
});

it("ends without a layer that is not in host memory yet, and gives back what nobody takes", async () => {
  using test = await openTestGpu();
  const before = test.gpu.memory.bytes;
  const never = earlyOf(test, 800 * ROW_BYTES, new Promise(() => undefined));
  await never.early.bringDuring(never.first, async () => await Promise.resolve());
  expect(never.early.take(never.second).size).toBe(0);
  const { early, first } = earlyOf(test, 800 * ROW_BYTES, Promise.resolve(host));
  await early.bringDuring(first, async () => {
    await vi.waitFor(() => expect(test.gpu.memory.bytes).toBeGreaterThan(before + ringBytes(RING)));
  });
  expect(test.gpu.memory.bytes).toBeGreaterThan(before);
  early[Symbol.dispose]();
  expect(test.gpu.memory.bytes).toBe(before);
});
