import { expect, it, vi } from "vitest";
import { invariant } from "../../../errors.ts";
import { ringBytes } from "../../../gpu/staging/ring-pieces.ts";
import { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import type { LayerDescription } from "../../../model/decoder-description.ts";
import type { Linear } from "../../../model/weight-description.ts";
import { type HostLayer, memoryLayer } from "../../../onload/host-layer.ts";
import type { OnloadedLayer } from "../../../onload/layer-weights.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import type { PlannedLayer, PlannedStep } from "../../planning/planned-step.ts";
import type { SequentialServices } from "../services.ts";
import { createWeightsAhead } from "./weights-ahead.ts";

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

/** The same, of which nothing can be read. */
function damaged(onRead: () => void): HostLayer {
  const read = () => {
    onRead();
    throw new Error("The file is damaged.");
  };
  const tensors = [...host.tensors].map(
    ([name, tensor]) => [name, { ...tensor, bytes: { ...tensor.bytes, read } }] as const,
  );
  return { ...host, tensors: new Map(tensors) };
}

interface Room {
  readonly bringsAhead?: boolean;
  readonly earlyBytes?: number;
}

/** Two steps, of which the second one's weights are wanted while samples run through the first. */
async function aheadOf({ gpu }: TestGpu, room: Room, reading: Promise<HostLayer>) {
  const layer = {
    linears,
    vectors: [],
    rewritings: [],
    dtypeOf: () => "BF16",
    description: {} as LayerDescription,
  };
  const schedule = { overlap: true, residency: { calibrate: [], propagate: RESIDENCY } };
  const calibrated = { layer, schedule, passed: null } as unknown as PlannedLayer;
  const steps = [{}, { calibrated }] as unknown as PlannedStep[];
  const plan = { shape: SHAPE, bringsAhead: false, earlyBytes: 0, ...room } as SequentialServices["plan"];
  const uploads = await UploadRing.create(gpu, RING);
  const ahead = createWeightsAhead({ gpu, uploads, plan }, { coming: () => reading }, steps);
  const [first, second] = steps;
  invariant(first && second, "there are two steps");
  return {
    ahead,
    first,
    onload: async () =>
      await ahead.onload({ step: second, layer: calibrated.layer, host }, { linears, residency: RESIDENCY }),
    async [Symbol.asyncDispose]() {
      await ahead[Symbol.asyncDispose]();
      uploads[Symbol.dispose]();
    },
  };
}

async function expectRows(test: TestGpu, layer: OnloadedLayer): Promise<void> {
  for (const { module, rows } of linears) {
    using to = await test.empty("rows", rows * ROW_BYTES);
    await layer.copyRows(module, 0, rows, to);
    const found = new Uint8Array((await test.readWords(to)).buffer);
    expect(found).toEqual(host.tensors.get(module)?.bytes.read(0, rows * ROW_BYTES));
  }
}

const ALL_BYTES = (300 + 64 + 200) * ROW_BYTES;

it("has those come that there is room for, small ones aside, and lie as all others do", async () => {
  using test = await openTestGpu();
  await using opened = await aheadOf(test, { earlyBytes: 400 * ROW_BYTES }, Promise.resolve(host));
  const before = test.gpu.memory.bytes;
  const whole = before + 300 * ROW_BYTES + ringBytes(RING);
  await opened.ahead.bringDuring(opened.first, async () => {
    await vi.waitFor(() => expect(test.gpu.memory.bytes).toBe(whole));
  });
  expect(test.gpu.memory.bytes - before).toBe(300 * ROW_BYTES);
  using layer = await opened.onload();
  expect(test.gpu.memory.bytes - before).toBe(ALL_BYTES);
  await expectRows(test, layer);
});

it("has all come where the plan has room for them, which are given once", async () => {
  using test = await openTestGpu();
  await using opened = await aheadOf(test, { bringsAhead: true }, Promise.resolve(host));
  const before = test.gpu.memory.bytes;
  opened.ahead.bringAfter(opened.first);
  await vi.waitFor(() => expect(test.gpu.memory.bytes - before).toBe(ALL_BYTES));
  using layer = await opened.onload();
  expect(test.gpu.memory.bytes - before).toBe(ALL_BYTES);
  await expectRows(test, layer);
  using again = await opened.onload();
  expect(test.gpu.memory.bytes - before).toBe(2 * ALL_BYTES);
  await expectRows(test, again);
});

it("ends without a layer that is not in host memory yet", async () => {
  using test = await openTestGpu();
  await using opened = await aheadOf(test, { earlyBytes: 800 * ROW_BYTES }, new Promise(() => undefined));
  const before = test.gpu.memory.bytes;
  await opened.ahead.bringDuring(opened.first, async () => await Promise.resolve());
  expect(test.gpu.memory.bytes).toBe(before);
});

it.each([{ earlyBytes: 800 * ROW_BYTES }, { bringsAhead: true }])(
  "gives back what nobody takes: %o",
  async (room) => {
    using test = await openTestGpu();
    const opened = await aheadOf(test, room, Promise.resolve(host));
    const before = test.gpu.memory.bytes;
    opened.ahead.bringAfter(opened.first);
    await opened.ahead.bringDuring(opened.first, async () => {
      await vi.waitFor(() => expect(test.gpu.memory.bytes).toBeGreaterThan(before + ringBytes(RING)));
    });
    expect(test.gpu.memory.bytes).toBeGreaterThan(before);
    await opened.ahead[Symbol.asyncDispose]();
    expect(test.gpu.memory.bytes).toBe(before);
    await opened[Symbol.asyncDispose]();
  },
);

it("tells that weights do not come where samples fail behind that, and gives all back", async () => {
  using test = await openTestGpu();
  const read = Promise.withResolvers<void>();
  const bad = damaged(read.resolve);
  await using opened = await aheadOf(test, { earlyBytes: 800 * ROW_BYTES }, Promise.resolve(bad));
  const before = test.gpu.memory.bytes;
  const bringing = opened.ahead.bringDuring(opened.first, async () => {
    await read.promise;
    await test.gpu.queue.idle();
    throw new Error("The samples are lost.");
  });
  await expect(bringing).rejects.toThrow("The file is damaged.");
  await opened.ahead[Symbol.asyncDispose]();
  expect(test.gpu.memory.bytes).toBe(before);
});

it("tells that samples fail though they end behind weights that do not come", async () => {
  using test = await openTestGpu();
  const read = Promise.withResolvers<void>();
  const reading = Promise.withResolvers<HostLayer>();
  await using opened = await aheadOf(test, { earlyBytes: 800 * ROW_BYTES }, reading.promise);
  const bringing = opened.ahead.bringDuring(opened.first, async (joint) => {
    const lost = joint.part(async () => await Promise.reject(new Error("The samples are lost.")));
    await expect(lost).rejects.toThrow("The samples are lost.");
    reading.resolve(damaged(read.resolve));
    await read.promise;
    await test.gpu.queue.idle();
    await lost;
  });
  await expect(bringing).rejects.toThrow("The samples are lost.");
});

it("tells that samples fail where weights do not come behind that, and gives all back", async () => {
  using test = await openTestGpu();
  const onRead = vi.fn<() => void>();
  await using opened = await aheadOf(test, { earlyBytes: 800 * ROW_BYTES }, Promise.resolve(damaged(onRead)));
  const before = test.gpu.memory.bytes;
  const bringing = opened.ahead.bringDuring(opened.first, async () => {
    // The first weight has room, and is read when the GPU has told so.
    await vi.waitFor(() => expect(test.gpu.memory.bytes).toBeGreaterThan(before + ringBytes(RING)), {
      interval: 0,
    });
    expect(onRead).not.toHaveBeenCalled();
    throw new Error("The samples are lost.");
  });
  await expect(bringing).rejects.toThrow("The samples are lost.");
  expect(onRead).toHaveBeenCalled();
  await opened.ahead[Symbol.asyncDispose]();
  expect(test.gpu.memory.bytes).toBe(before);
});

it("tells whoever asks for a layer that not all of it came, and gives all back", async () => {
  using test = await openTestGpu();
  await using opened = await aheadOf(test, { bringsAhead: true }, Promise.resolve(damaged(() => undefined)));
  const before = test.gpu.memory.bytes;
  opened.ahead.bringAfter(opened.first);
  await expect(opened.onload()).rejects.toThrow("The file is damaged.");
  expect(test.gpu.memory.bytes).toBe(before);
});
