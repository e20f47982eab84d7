import { expect, it } from "vitest";
import type { Gpu } from "../../gpu/gpu.ts";
import { createMatrixUnits } from "../../gpu/matmul/matmul-halves.ts";
import type { JournalRecord } from "../../offload/journal.ts";
import { openTestGpu } from "../../testing/open-test-gpu.ts";
import { forwardNotes, openForwardProducts } from "./forward-products.ts";
import type { ForwardProducts } from "../../api/job-options.ts";

function memoryJournal() {
  const records: JournalRecord[] = [];
  return { records, append: (record: JournalRecord) => void records.push(record) };
}

/** Opens a job's forward products on an adapter whose matrix units are of a size, and faster or not; 0 for none. */
async function run(
  journal: ReturnType<typeof memoryJournal>,
  wanted: ForwardProducts,
  { size, faster = true, hessians = false }: { size: number; faster?: boolean; hessians?: boolean },
) {
  using test = await openTestGpu();
  using largest = await test.empty("largest magnitudes", 128);
  const notices: string[] = [];
  const open = async (gpu: Gpu, anyway = false): Promise<Disposable> => {
    const shape = { m: size, n: size, k: size, subgroup: 32 };
    if (size > 0 && (faster || anyway)) gpu.tuning.matrices = createMatrixUnits(shape, largest);
    if (gpu.tuning.matrices) gpu.tuning.matrices.hessians = hessians;
    return await Promise.resolve({ [Symbol.dispose]: () => undefined });
  };
  const tell = (notice: string) => void notices.push(notice);
  using units = await openForwardProducts(test.gpu, journal, wanted, tell, open);
  expect(units).toBeDefined();
  const { matrices } = test.gpu.tuning;
  return { size: matrices?.shape.m ?? 0, notices, ...(matrices?.hessians && { hessians: true }) };
}

it("takes matrix units that are faster, and says so in the report", async () => {
  const journal = memoryJournal();
  expect(await run(journal, "AUTO", { size: 16 })).toEqual({ size: 16, notices: [] });
  expect(forwardNotes(journal)).toEqual([expect.stringContaining("16x16x16")]);
});

it("has Hessians there too where they were in the first run, and says that", async () => {
  const both = memoryJournal();
  const onUnits = { size: 16, hessians: true };
  expect(await run(both, "AUTO", onUnits)).toEqual({ ...onUnits, notices: [] });
  expect(forwardNotes(both)).toEqual([expect.stringMatching(/passes and Hessians .* \(16x16x16\), each/)]);
  expect(await run(both, "AUTO", onUnits)).toEqual({ ...onUnits, notices: [] });
  const productsAlone = memoryJournal();
  await run(productsAlone, "AUTO", { size: 16 });
  expect(await run(productsAlone, "AUTO", onUnits)).toEqual({ size: 16, notices: [] });
});

it("computes in float32 where that is wanted, or faster", async () => {
  for (const [wanted, faster] of [
    ["F32", true],
    ["AUTO", false],
  ] as const) {
    const journal = memoryJournal();
    expect(await run(journal, wanted, { size: 16, faster })).toEqual({ size: 0, notices: [] });
    expect(forwardNotes(journal)).toEqual([]);
  }
});

it("goes on with what the first run chose, whatever is faster now", async () => {
  const onUnits = memoryJournal();
  await run(onUnits, "AUTO", { size: 16 });
  expect(await run(onUnits, "AUTO", { size: 16, faster: false })).toEqual({ size: 16, notices: [] });
  const inFloat32 = memoryJournal();
  await run(inFloat32, "AUTO", { size: 0 });
  expect(await run(inFloat32, "AUTO", { size: 16 })).toEqual({ size: 0, notices: [] });
});

it("tells of units that a job began with and that are gone", async () => {
  const journal = memoryJournal();
  await run(journal, "AUTO", { size: 16 });
  const { size, notices } = await run(journal, "AUTO", { size: 0 });
  expect(size).toBe(0);
  expect(notices).toEqual([expect.stringContaining("matrix units (16x16x16), which this browser does not")]);
});
