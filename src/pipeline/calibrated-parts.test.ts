// Parts and shares of a job that calibrates on the original model: the bytes of the job that was not divided.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { PART_FILE, parsePartDocument } from "../package/part-document.ts";
import { openFolders } from "../testing/sources/open-folders.ts";
import { planFixture } from "../testing/jobs/plan-fixture.ts";
import { mergeParts } from "../../scripts/cli/merge/merge-parts.ts";

const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
const PARTS = {
  first: { kind: "layers", first: 0, last: 0 },
  second: { kind: "layers", first: 1, last: 1 },
  rest: { kind: "rest" },
} as const;

const plan = async (changes: Parameters<typeof planFixture>[3]) =>
  await planFixture("llama", "W8A8", GPTQ, { propagateError: false, ...changes });

/** A header of safetensors with its length in front. */
function withLength(header: string): Buffer<ArrayBuffer> {
  const bytes = Buffer.alloc(8 + header.length);
  bytes.writeBigUInt64LE(BigInt(header.length));
  bytes.write(header, 8, "latin1");
  return bytes;
}
describe("parts of a job that calibrates on the original model", () => {
  const make = async (changes: Parameters<typeof planFixture>[3] = {}) => {
    const machine = (await plan(changes)).machine();
    await machine.run();
    return machine;
  };
  /** The part's document tells of times. */
  const isTimeless = ([path]: [string, string]) => path !== PART_FILE;
  const documentOf = (machine: Awaited<ReturnType<typeof make>>) =>
    parsePartDocument(PART_FILE, new TextDecoder().decode(machine.files().get(PART_FILE)));
  const stateFile = (bytes: Uint8Array<ArrayBuffer> | undefined) =>
    new File([bytes ?? new Uint8Array()], "states-1.safetensors");
  let original: File;
  let states: readonly File[];
  beforeAll(async () => {
    const made = (await make({ part: { kind: "states", at: [1] } })).files();
    original = stateFile(made.get("states-1.safetensors"));
    states = [original];
  });
  /** The states of all but the first tokens, or of those first ones alone. */
  const shareFrom = async (tokens: number, side: "before" | "behind") => {
    const bytes = Buffer.from(await original.arrayBuffer());
    const header = 8 + Number(bytes.readBigUInt64LE());
    const cut = header + tokens * 64 * 4;
    const told = bytes.subarray(0, header).toString("latin1");
    const behind = told.replace('"firstToken":"0"', `"firstToken":"${tokens}"`);
    const own =
      side === "before" ? [bytes.subarray(0, cut)] : [withLength(behind.slice(8)), bytes.subarray(cut)];
    return new File(own, "states-1.safetensors");
  };

  it("begin with hidden states, and are merged into the undivided job's folder, byte for byte", async () => {
    const folders = await openFolders("calibrated-parts-");
    const made = [
      await folders.save("gptq-0", (await make({ part: PARTS.first })).files()),
      await folders.save("gptq-1", (await make({ part: PARTS.second, states })).files()),
      await folders.save("gptq-rest", (await make({ part: PARTS.rest })).files()),
    ];
    const out = folders.fresh();
    await mergeParts(made, out);
    const undivided = (await make()).files();
    for (const [path, bytes] of undivided) {
      if (path === "quantization-report.json") continue;
      expect([path, (await readFile(join(out, path))).equals(bytes)]).toEqual([path, true]);
    }
    const report = JSON.parse(await readFile(join(out, "quantization-report.json"), "utf8"));
    const expected = JSON.parse(Buffer.from(undivided.get("quantization-report.json") ?? []).toString());
    const losses = ({ modules }: typeof expected) =>
      modules.map(({ module, loss }: { module: string; loss: number }) => [module, loss]);
    expect(losses(report)).toEqual(losses(expected));
    expect(report.calibration).toEqual(expected.calibration);
  });

  it("make their own hidden states where none are given: the same bytes, nothing of the layers before them", async () => {
    const own = await make({ part: PARTS.second });
    const given = await make({ part: PARTS.second, states });
    expect([...own.output()].filter(isTimeless)).toEqual([...given.output()].filter(isTimeless));
    const told = documentOf(own);
    expect(told).toMatchObject({ part: PARTS.second, forwardProducts: "F32" });
    expect(told.written).toEqual(documentOf(given).written);
    expect(told.measured.modules.map(({ module }) => module)).toEqual(
      documentOf(given).measured.modules.map(({ module }) => module),
    );
  });

  it("are jobs of their own with and without given states: neither goes on from what the other did", async () => {
    const [own, given] = [await plan({ part: PARTS.second }), await plan({ part: PARTS.second, states })];
    expect(own.plan.jobId).not.toBe(given.plan.jobId);
    expect(own.plan.steps.map(({ name }) => name)).toEqual(["model.layers.0", "model.layers.1"]);
    expect(given.plan.steps.map(({ name }) => name)).toEqual(["model.layers.1"]);
    const [ahead, last] = own.plan.steps.map(({ calibrated }) => calibrated?.work);
    expect(ahead).toMatchObject({ calibrating: 0, quantizing: 0 });
    expect(ahead?.propagating).toBeGreaterThan(0);
    expect(last).toEqual(given.plan.steps[0]?.calibrated?.work);
  });

  it("begin with hidden states that shares of the samples have made, in whatever order", async () => {
    const [before, behind] = [await shareFrom(24, "before"), await shareFrom(24, "behind")];
    const made = await make({ part: PARTS.second, states: [behind, before] });
    const undivided = await make({ part: PARTS.second, states });
    expect(made.files().get("part.safetensors")).toEqual(undivided.files().get("part.safetensors"));
  });

  it("go on after a crash, states too", async () => {
    const jobs = [
      { part: { kind: "states", at: [1] } },
      { part: PARTS.second, states },
      { part: PARTS.second },
    ] as const;
    for (const changes of jobs) {
      const job = await plan(changes);
      const undisturbed = job.machine();
      await undisturbed.run();
      for (let operation = 1; operation <= undisturbed.disk.operations; operation += 3) {
        const machine = job.machine();
        machine.disk.failAt(operation, "crash");
        await machine.run().catch(() => undefined);
        machine.disk.recover();
        await machine.run();
        expect([...machine.output()].filter(isTimeless)).toEqual(
          [...undisturbed.output()].filter(isTimeless),
        );
      }
    }
  });

  it("are refused where they do not fit, each with a sentence", async () => {
    const refused = async (changes: Parameters<typeof planFixture>[3]) =>
      await make(changes).then(
        () => "taken",
        (error: unknown) => String(error),
      );
    expect(await refused({ part: PARTS.first, propagateError: true })).toMatch(/Add --no-propagate-error/);
    expect(await refused({ part: PARTS.second, propagateError: true })).toMatch(/Add --no-propagate-error/);
    expect(await refused({ part: { kind: "states", at: [2] } })).toMatch(/in front of layers 1 to 1, not 2/);
    const torn = new File([original.slice(0, -4)], "states-1.safetensors");
    expect(await refused({ part: PARTS.second, states: [torn] })).toMatch(/bytes where \d+ are due/);
    const behind = await shareFrom(24, "behind");
    expect(await refused({ part: PARTS.second, states: [behind] })).toMatch(
      /begin at token 24 where token 0 is due: a share of the samples is missing/,
    );
    const share = { index: 1, of: 3 };
    expect(await refused({ part: { kind: "states", at: [1], share } })).toMatch(
      /make 2 batches on this GPU and cannot be cut into 3 shares/,
    );
    const other = Buffer.from(await original.arrayBuffer());
    other.write("0", other.indexOf('"job":"') + 7);
    other.write("0", other.indexOf('"job":"') + 8);
    expect(await refused({ part: PARTS.second, states: [stateFile(other)] })).toMatch(
      /of another source, recipe or/,
    );
    expect(await refused({ part: PARTS.second, states: [stateFile(undefined)] })).toMatch(/too few/);
    expect(await refused({ part: { ...PARTS.second, forwardProducts: "16x16x16" }, states })).toMatch(
      /were computed on 16x16x16, and this GPU and browser compute on F32/,
    );
  });
});
describe("a job that shares samples and has no error to propagate", () => {
  const share = { index: 0, of: 1, exchange: "" };

  it("quantizes a layer while samples run through the next one: the undivided job's bytes, after a crash, too", async () => {
    const job = await plan({ share });
    expect(job.plan.calibration?.plan.sideBySide).toBe(true);
    const undivided = (await plan({})).machine();
    await undivided.run();
    const expected = undivided.files().get("model.safetensors");
    const undisturbed = job.machine();
    await undisturbed.run();
    expect(undisturbed.files().get("model.safetensors")).toEqual(expected);
    for (let operation = 1; operation <= undisturbed.disk.operations; operation += 37) {
      const machine = job.machine();
      machine.disk.failAt(operation, "crash");
      await machine.run().catch(() => undefined);
      machine.disk.recover();
      await machine.run();
      expect(machine.files().get("model.safetensors")).toEqual(expected);
    }
  });

  it("does so only where there is room for two layers, and where no error goes on", async () => {
    const planOf = async (changes: Parameters<typeof planFixture>[3]) =>
      (await plan({ share, ...changes })).plan.calibration?.plan;
    const layerBytes = (await planOf({}))?.layerPlace.layerBytes ?? 0;
    // One is quantized, samples run through one, and one is read.
    expect(await planOf({ hostBudgetBytes: 3 * layerBytes })).toMatchObject({ sideBySide: true });
    expect(await planOf({ hostBudgetBytes: 3 * layerBytes - 1 })).toMatchObject({ sideBySide: false });
    expect(await planOf({ propagateError: true })).toMatchObject({ sideBySide: false });
  });
});
