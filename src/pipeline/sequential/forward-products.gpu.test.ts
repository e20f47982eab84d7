import { describe, expect, it } from "vitest";
import type { Gpu } from "../../gpu/gpu.ts";
import { leastStrassen } from "../../gpu/matmul/strassen/strassen-size.ts";
import { openStrassen, type StrassenPlace } from "../../gpu/matmul/strassen/open-strassen.ts";
import { createMatrixUnits } from "../../gpu/matmul/matmul-halves.ts";
import type { JournalRecord } from "../../offload/journal.ts";
import { openTestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { forwardNotes, openForwardProducts } from "./forward-products.ts";
import type { ForwardProducts } from "../../formats/recipe/forward-products.ts";

function memoryJournal() {
  const records: JournalRecord[] = [];
  return { records, append: (record: JournalRecord) => void records.push(record) };
}

/** Matrix units of a size, and faster or not, 0 for none; whether the plan has room for Strassen's products, and whether they are faster. */
interface Machine {
  readonly size: number;
  readonly faster?: boolean;
  readonly hessians?: boolean;
  readonly room?: "stays" | "lent" | null;
  readonly strassenFaster?: boolean;
}

/** Opens a job's forward products on such a machine. */
async function run(
  journal: ReturnType<typeof memoryJournal>,
  wanted: ForwardProducts,
  { size, faster = true, hessians = false, room = null, strassenFaster = true }: Machine,
) {
  using test = await openTestGpu();
  using magnitudes = await test.empty("largest magnitudes", 128);
  const notices: string[] = [];
  const units = async (gpu: Gpu, anyway = false): Promise<Disposable> => {
    const shape = { m: size, n: size, k: size, subgroup: 32 };
    if (size > 0 && (faster || anyway)) gpu.tuning.matrices = createMatrixUnits(shape, magnitudes);
    if (gpu.tuning.matrices) gpu.tuning.matrices.hessians = hessians;
    return await Promise.resolve({ [Symbol.dispose]: () => undefined });
  };
  const tell = (notice: string) => void notices.push(notice);
  const strassen = async (gpu: Gpu, place: StrassenPlace | null, anyway = false): Promise<Disposable> =>
    await openStrassen(gpu, place, anyway || strassenFaster);
  const least = leastStrassen({ m: 256, n: 256, k: 32 });
  const asked = { products: wanted, strassen: room ? { ...least, stays: room === "stays" } : null };
  const opened = await openForwardProducts(test.gpu, journal, asked, tell, { units, strassen });
  const { matrices, strassen: scratch, lentStrassen: lent } = test.gpu.tuning;
  opened[Symbol.dispose]();
  expect(test.gpu.tuning).toMatchObject({ strassen: null, lentStrassen: null });
  return {
    size: matrices?.shape.m ?? 0,
    notices,
    ...(matrices?.hessians && { hessians: true }),
    ...(scratch && { strassen: true }),
    ...(lent && { lent: true }),
  };
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

describe("Strassen's products", () => {
  const ROOM: Machine = { size: 0, room: "stays" };
  const taken = { size: 0, notices: [], strassen: true };
  const plain = { size: 0, notices: [] };

  it("are taken where there are no matrix units, the plan has room and they are faster, and the report says so", async () => {
    const journal = memoryJournal();
    expect(await run(journal, "AUTO", ROOM)).toEqual(taken);
    expect(forwardNotes(journal)).toEqual([expect.stringContaining("Strassen")]);
    for (const machine of [{ size: 0 }, { ...ROOM, strassenFaster: false }])
      expect(await run(memoryJournal(), "AUTO", machine)).toEqual(plain);
    expect(await run(memoryJournal(), "AUTO", { ...ROOM, size: 16 })).toEqual({ size: 16, notices: [] });
    expect(await run(memoryJournal(), "F32", ROOM)).toEqual(plain);
  });

  it("are taken by name whatever is faster", async () => {
    const machine: Machine = { size: 16, room: "stays", strassenFaster: false };
    expect(await run(memoryJournal(), "F32_STRASSEN", machine)).toEqual(taken);
  });

  it("are lent where the plan has room for a while, which is told apart from where it has it always", async () => {
    const journal = memoryJournal();
    const machine: Machine = { size: 0, room: "lent" };
    const lent = { ...plain, lent: true };
    expect(await run(journal, "AUTO", machine)).toEqual(lent);
    expect(await run(journal, "AUTO", { ...machine, size: 16, strassenFaster: false })).toEqual(lent);
    expect(forwardNotes(journal)).toEqual([
      expect.stringMatching(/propagate samples, and of no others, .*Strassen/),
    ]);
    const { notices } = await run(journal, "AUTO", ROOM);
    expect(notices).toEqual([expect.stringContaining("for which this job's plan has")]);
  });

  it("stay what the first run chose", async () => {
    const journal = memoryJournal();
    await run(journal, "AUTO", ROOM);
    expect(await run(journal, "AUTO", { ...ROOM, size: 16, strassenFaster: false })).toEqual(taken);
    const inFloat32 = memoryJournal();
    await run(inFloat32, "AUTO", { size: 0 });
    expect(await run(inFloat32, "AUTO", ROOM)).toEqual(plain);
  });

  it("are told of where a job began with them and has no room any more", async () => {
    const journal = memoryJournal();
    await run(journal, "AUTO", ROOM);
    const { strassen, notices } = await run(journal, "AUTO", { size: 0 });
    expect(strassen).toBeUndefined();
    expect(notices).toEqual([
      expect.stringContaining("Strassen's products, for which this job's plan has other room now, or none"),
    ]);
  });
});
