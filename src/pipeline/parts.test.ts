// Parts of a model, made by the real conductor on a stub of a GPU, and joined: the bytes of the job that was not divided.

import { createHash } from "node:crypto";
import type { Receipt } from "../api/receipt.ts";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { JobPart } from "../api/job-options.ts";
import { layOutShards } from "../formats/shards.ts";
import { PART_FILE, parsePartDocument } from "../package/part-document.ts";
import { planFixture } from "../testing/run-job.ts";
import { mergeParts } from "../../scripts/cli/merge-parts.ts";
import { makeReceipt } from "./result/make-receipt.ts";

const ROUNDED = { name: "QuantizationModifier" } as const;
const PARTS = {
  first: { kind: "layers", first: 0, last: 0 },
  second: { kind: "layers", first: 1, last: 1 },
  both: { kind: "layers", first: 0, last: 1 },
  rest: { kind: "rest" },
} as const satisfies Record<string, JobPart>;

let folder: string;
let count = 0;
const fresh = () => join(folder, `out-${++count}`);

async function save(name: string, files: ReadonlyMap<string, Uint8Array>): Promise<string> {
  const target = join(folder, name);
  for (const [path, bytes] of files) {
    await mkdir(dirname(join(target, path)), { recursive: true });
    await writeFile(join(target, path), bytes);
  }
  return target;
}

async function makePart(name: string, scheme: string, part: JobPart): Promise<string> {
  const machine = (await planFixture("llama", scheme, ROUNDED, { part })).machine();
  await machine.run();
  return await save(name, machine.files());
}

const parts: Record<string, string> = {};
const part = (name: keyof typeof PARTS) => parts[name] ?? "";
let whole: ReadonlyMap<string, Uint8Array>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "parts-"));
  for (const [name, asked] of Object.entries(PARTS)) parts[name] = await makePart(name, "W8A8", asked);
  const machine = (await planFixture("llama", "W8A8", ROUNDED)).machine();
  await machine.run();
  whole = machine.files();
});

/** A header of safetensors with its length in front. */
function withLength(header: string): Buffer<ArrayBuffer> {
  const bytes = Buffer.alloc(8 + header.length);
  bytes.writeBigUInt64LE(BigInt(header.length));
  bytes.write(header, 8, "latin1");
  return bytes;
}

/** A receipt that states a part's only shard. */
function receiptOf(shard: Uint8Array): Buffer {
  const receipt: Receipt = {
    layout: 1,
    made_by: { program: "layerpress", version: "0", commit: "0" },
    source: { address: null, label: "model", repository: null, revision: null, files: [] },
    recipe: "",
    options: { recipe: { kind: "yaml", text: "" }, calibration: null, gpu_budget_bytes: 0 },
    calibration: null,
    adapter: { vendor: "", architecture: "", description: "", software: true },
    files: [
      {
        path: "part.safetensors",
        bytes: shard.byteLength,
        sha256: createHash("sha256").update(shard).digest("hex"),
      },
    ],
  };
  return Buffer.from(JSON.stringify(receipt));
}

it("says in a part's receipt which part it is", async () => {
  const machine = (await planFixture("llama", "W8A8", ROUNDED, { part: PARTS.second })).machine();
  const { jobId } = await machine.run();
  await makeReceipt(jobId, () => undefined);
  const receipt = JSON.parse(new TextDecoder().decode(machine.files().get("receipt.json"))) as Receipt;
  expect(receipt.options.part).toEqual(PARTS.second);
});

describe("merged parts", () => {
  it("have the receipt of a whole model, which says of no part", async () => {
    const machine = (await planFixture("llama", "W8A8", ROUNDED, { part: PARTS.rest })).machine();
    const { jobId } = await machine.run();
    await makeReceipt(jobId, () => undefined);
    const out = fresh();
    await mergeParts([part("both"), await save("told", machine.files())], out);
    const receipt = JSON.parse(await readFile(join(out, "receipt.json"), "utf8")) as Receipt;
    expect(receipt.options).not.toHaveProperty("part");
    expect(receipt.files.map(({ path }) => path)).toContain("model.safetensors");
  });

  it("are the undivided job's folder, byte for byte, in whatever order they are given", async () => {
    const out = fresh();
    const written = await mergeParts([part("second"), part("rest"), part("first")], out);
    expect(written.map(({ path }) => path)).toEqual([...whole.keys()].toSorted());
    for (const [path, bytes] of whole) {
      // The report tells of times.
      if (path === "quantization-report.json") continue;
      expect([path, (await readFile(join(out, path))).equals(bytes)]).toEqual([path, true]);
    }
  });

  it("are cut into shards where the undivided job cuts, not where parts end", async () => {
    const rules = { maxShardBytes: 20_000 };
    const out = fresh();
    const written = await mergeParts([part("both"), part("rest")], out, rules);
    const { plan } = await planFixture("llama", "W8A8", ROUNDED);
    const specs = plan.steps.flatMap(({ copy, quantize }) => [
      ...copy,
      ...quantize.flatMap((task) => task.outputs),
    ]);
    const expected = layOutShards(
      specs.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
      rules,
    );
    expect(expected.shards.length).toBeGreaterThan(2);
    const from = new Map(plan.output.shards[0]?.entries.map((entry) => [entry.name, entry]));
    const model = whole.get("model.safetensors");
    for (const { path, header, entries } of expected.shards) {
      const bytes = await readFile(join(out, path));
      expect(bytes.subarray(0, header.byteLength).equals(header)).toBe(true);
      for (const { name, start, end } of entries) {
        const place = from.get(name);
        expect(
          bytes.subarray(start, end).equals(model?.subarray(place?.start, place?.end) ?? new Uint8Array()),
        ).toBe(true);
      }
    }
    expect(written.map(({ path }) => path)).toContain("model.safetensors.index.json");
  });

  it.each([
    [["first", "rest"], /layers 1\.\.1 is in none of them/],
    [["second"], /layers 0\.\.0, rest are in none of them/],
    [
      ["first", "both", "rest"],
      /first \(layers 0\.\.0\) and .*both \(layers 0\.\.1\) overlap: both hold layer 0/,
    ],
  ] as const)("%j are refused", async (names, sentence) => {
    const asked = names.map(part);
    await expect(mergeParts(asked, fresh())).rejects.toThrow(sentence);
  });

  it("of other recipes are refused, and folders that are no parts", async () => {
    const other = await makePart("other", "FP8_DYNAMIC", PARTS.rest);
    await expect(mergeParts([part("both"), other], fresh())).rejects.toThrow(
      /both and .*other are no parts of one job: the recipe differs/,
    );
    await expect(mergeParts([part("both"), folder], fresh())).rejects.toThrow(/has no layerpress-part\.json/);
  });

  it("that were changed are refused, and nothing is left of them", async () => {
    const shard = await readFile(join(part("both"), "part.safetensors"));
    const document = await readFile(join(part("both"), "layerpress-part.json"));
    const config = await readFile(join(part("both"), "config.json"));
    const files = { "part.safetensors": shard, "layerpress-part.json": document, "config.json": config };
    const changed = async (name: string, change: Record<string, Uint8Array>) => {
      const target = await save(name, new Map(Object.entries({ ...files, ...change })));
      const out = fresh();
      try {
        return await mergeParts([target, part("rest")], out);
      } finally {
        expect(await readdir(out).catch(() => [])).toEqual([]);
      }
    };
    await expect(changed("cut", { "part.safetensors": shard.subarray(0, -1) })).rejects.toThrow(
      /bytes where its part wrote/,
    );
    const flipped = Buffer.from(shard);
    flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
    await expect(
      changed("flipped", { "part.safetensors": flipped, "receipt.json": receiptOf(shard) }),
    ).rejects.toThrow(/part\.safetensors has other bytes than .*receipt\.json says/);
    const tampered = Buffer.from(document.toString().replace('"place": 1', '"place": 7'));
    await expect(changed("moved", { "layerpress-part.json": tampered })).rejects.toThrow(
      /does not hold together/,
    );
    await expect(
      changed("unreadable", { "layerpress-part.json": Buffer.from('{"layout": 2}') }),
    ).rejects.toThrow(/is not what this version writes of a part/);
    await expect(changed("config", { "config.json": Buffer.from("{}") })).rejects.toThrow(
      /different files config\.json/,
    );
  });
});

describe("parts of strangers", () => {
  const files = async (name: keyof typeof PARTS) => {
    const names = ["part.safetensors", "layerpress-part.json", "config.json", "generation_config.json"];
    const read = names.map(
      async (path) => [path, await readFile(join(part(name), path)).catch(() => null)] as const,
    );
    return new Map(
      (await Promise.all(read)).flatMap(([path, bytes]) => (bytes ? [[path, bytes] as const] : [])),
    );
  };
  const refused = async (folders: readonly string[]) =>
    await mergeParts(folders, fresh()).then(
      () => "taken",
      (error: unknown) => String(error),
    );

  it.each([
    ["a place without end", /"place": 1,/, '"place": 4294967290,', /does not hold together/],
    ["steps without end", /"steps": \d+/, '"steps": 9007199254740991', /does not hold together/],
    ["a tensor without end", /"shape": \[\s*\d+/, '"shape": [ 9007199254740991', /is not in the shards/],
    [
      "a way out",
      /"path": "part\.safetensors"/,
      '"path": "../part.safetensors"',
      /shards\.0\.path is not as/,
    ],
  ])("are refused where a document tells of %s", async (name, from, to, sentence) => {
    const own = await files("both");
    const document = own.get("layerpress-part.json")?.toString() ?? "";
    expect(document).toMatch(from);
    const target = await save(name, own.set("layerpress-part.json", Buffer.from(document.replace(from, to))));
    expect(await refused([target, part("rest")])).toMatch(sentence);
  });

  it.each(["model.safetensors", "README.md", "CONFIG.json", "config.json/x"])(
    "are refused where they bring a small file in the place of another: %s",
    async (path) => {
      const own = await files("rest");
      const document = JSON.parse(own.get("layerpress-part.json")?.toString() ?? "");
      document.carried = [{ path, bytes: 2 }];
      const changed = own.set("layerpress-part.json", Buffer.from(JSON.stringify(document)));
      const target = await save(`brings-${path.replaceAll("/", "-")}`, changed);
      expect(await refused([part("both"), target])).toMatch(/another file or folder of that name/);
    },
  );

  it.each(["part.safetensors", "config.json", "receipt.json"])(
    "are refused where a device or a folder stands for %s",
    async (path) => {
      const target = await save(`without-${path}`, await files("both"));
      await rm(join(target, path), { force: true });
      await symlink("/dev/zero", join(target, path));
      expect(await refused([target, part("rest")])).toMatch(/is no file/);
      await rm(join(target, path));
      await mkdir(join(target, path));
      expect(await refused([target, part("rest")])).toMatch(/is no file/);
    },
  );

  it.each(["part.safetensors", "config.json"])("are refused where %s is missing", async (path) => {
    const target = await save(`none-${path}`, await files("both"));
    await rm(join(target, path));
    expect(await refused([target, part("rest")])).toMatch(/is missing, or cannot be reached/);
  });
});

describe("parts of a job that calibrates on the original model", () => {
  const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
  const plan = async (changes: Parameters<typeof planFixture>[3]) =>
    await planFixture("llama", "W8A8", GPTQ, { propagateError: false, ...changes });
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
    const folders = [
      await save("gptq-0", (await make({ part: PARTS.first })).files()),
      await save("gptq-1", (await make({ part: PARTS.second, states })).files()),
      await save("gptq-rest", (await make({ part: PARTS.rest })).files()),
    ];
    const out = fresh();
    await mergeParts(folders, out);
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

describe("a part", () => {
  it("outside of the model's layers is refused, and hidden states where nothing calibrates", async () => {
    const beyond = planFixture("llama", "W8A8", ROUNDED, { part: { kind: "layers", first: 1, last: 2 } });
    await expect(beyond).rejects.toThrow("The model has the layers 0 to 1; 1..2 is no range of them.");
    const states = [new File([], "states-1.safetensors")];
    const idle = planFixture("llama", "W8A8", ROUNDED, { part: PARTS.second, states });
    await expect(idle).rejects.toThrow(/hidden states would change nothing/);
  });
});

describe("a job that shares samples and has no error to propagate", () => {
  const GPTQ = { name: "GPTQModifier", dampening_frac: 0.01, actorder: "static" } as const;
  const share = { index: 0, of: 1, exchange: "" };
  const plan = async (changes: Parameters<typeof planFixture>[3]) =>
    await planFixture("llama", "W8A8", GPTQ, { propagateError: false, ...changes });

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
