// Parts of a model, made by the real conductor on a stub of a GPU, and joined: the bytes of the job that was not divided.

import { createHash } from "node:crypto";
import type { Receipt } from "../api/receipt.ts";
import { mkdir, readdir, readFile, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { JobPart } from "../api/job-options.ts";
import { layOutShards } from "../formats/safetensors/shards.ts";
import { type Folders, openFolders } from "../testing/sources/open-folders.ts";
import { planFixture } from "../testing/jobs/plan-fixture.ts";
import { mergeParts } from "../../scripts/cli/merge/merge-parts.ts";
import { makeReceipt } from "./result/make-receipt.ts";

const ROUNDED = { name: "QuantizationModifier" } as const;
const PARTS = {
  first: { kind: "layers", first: 0, last: 0 },
  second: { kind: "layers", first: 1, last: 1 },
  both: { kind: "layers", first: 0, last: 1 },
  rest: { kind: "rest" },
} as const satisfies Record<string, JobPart>;

let folders: Folders;

async function makePart(name: string, scheme: string, part: JobPart): Promise<string> {
  const machine = (await planFixture("llama", scheme, ROUNDED, { part })).machine();
  await machine.run();
  return await folders.save(name, machine.files());
}

const parts: Record<string, string> = {};
const part = (name: keyof typeof PARTS) => parts[name] ?? "";
let whole: ReadonlyMap<string, Uint8Array>;
beforeAll(async () => {
  folders = await openFolders("parts-");
  for (const [name, asked] of Object.entries(PARTS)) parts[name] = await makePart(name, "W8A8", asked);
  const machine = (await planFixture("llama", "W8A8", ROUNDED)).machine();
  await machine.run();
  whole = machine.files();
});

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
    const out = folders.fresh();
    await mergeParts([part("both"), await folders.save("told", machine.files())], out);
    const receipt = JSON.parse(await readFile(join(out, "receipt.json"), "utf8")) as Receipt;
    expect(receipt.options).not.toHaveProperty("part");
    expect(receipt.files.map(({ path }) => path)).toContain("model.safetensors");
  });

  it("are the undivided job's folder, byte for byte, in whatever order they are given", async () => {
    const out = folders.fresh();
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
    const out = folders.fresh();
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
    await expect(mergeParts(asked, folders.fresh())).rejects.toThrow(sentence);
  });

  it("of other recipes are refused, and folders that are no parts", async () => {
    const other = await makePart("other", "FP8_DYNAMIC", PARTS.rest);
    await expect(mergeParts([part("both"), other], folders.fresh())).rejects.toThrow(
      /both and .*other are no parts of one job: the recipe differs \("scheme: W8A8" and "scheme: FP8_DYNAMIC"\)/,
    );
    await expect(mergeParts([part("both"), folders.path], folders.fresh())).rejects.toThrow(
      /has no layerpress-part\.json/,
    );
  });

  it("that were changed are refused, and nothing is left of them", async () => {
    const shard = await readFile(join(part("both"), "part.safetensors"));
    const document = await readFile(join(part("both"), "layerpress-part.json"));
    const config = await readFile(join(part("both"), "config.json"));
    const files = { "part.safetensors": shard, "layerpress-part.json": document, "config.json": config };
    const changed = async (name: string, change: Record<string, Uint8Array>) => {
      const target = await folders.save(name, new Map(Object.entries({ ...files, ...change })));
      const out = folders.fresh();
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
  const refused = async (given: readonly string[]) =>
    await mergeParts(given, folders.fresh()).then(
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
    const target = await folders.save(
      name,
      own.set("layerpress-part.json", Buffer.from(document.replace(from, to))),
    );
    expect(await refused([target, part("rest")])).toMatch(sentence);
  });

  it.each(["model.safetensors", "README.md", "CONFIG.json", "config.json/x"])(
    "are refused where they bring a small file in the place of another: %s",
    async (path) => {
      const own = await files("rest");
      const document = JSON.parse(own.get("layerpress-part.json")?.toString() ?? "");
      document.carried = [{ path, bytes: 2 }];
      const changed = own.set("layerpress-part.json", Buffer.from(JSON.stringify(document)));
      const target = await folders.save(`brings-${path.replaceAll("/", "-")}`, changed);
      expect(await refused([part("both"), target])).toMatch(/another file or folder of that name/);
    },
  );

  it.each(["part.safetensors", "config.json", "receipt.json"])(
    "are refused where a device or a folder stands for %s",
    async (path) => {
      const target = await folders.save(`without-${path}`, await files("both"));
      await rm(join(target, path), { force: true });
      await symlink("/dev/zero", join(target, path));
      expect(await refused([target, part("rest")])).toMatch(/is no file/);
      await rm(join(target, path));
      await mkdir(join(target, path));
      expect(await refused([target, part("rest")])).toMatch(/is no file/);
    },
  );

  it.each(["part.safetensors", "config.json"])("are refused where %s is missing", async (path) => {
    const target = await folders.save(`none-${path}`, await files("both"));
    await rm(join(target, path));
    expect(await refused([target, part("rest")])).toMatch(/is missing, or cannot be reached/);
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
