import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import type { Receipt } from "../../../src/api/receipt.ts";
import { UsageError } from "./argument-readers.ts";
import { compareReceipts } from "../compare-receipts.ts";
import { readCompressArguments } from "./compress-arguments.ts";

const REVISION = "0e9e39f249a16976918f6564b8830bc894c89659";
const RECEIPT: Receipt = {
  layout: 1,
  made_by: { program: "Layerpress", version: "0.1.0", commit: "abc1234" },
  source: {
    address: "owner/name@main",
    label: "owner/name @ 0e9e39f",
    repository: "owner/name",
    revision: REVISION,
    files: [{ path: "model.safetensors", bytes: 10, version: "f".repeat(64) }],
  },
  recipe: "default_stage: {}\n",
  options: {
    recipe: {
      kind: "controls",
      scheme: "W4A16",
      group_size: 64,
      ignore: ["lm_head", "re:.*down_proj"],
      method: { name: "GPTQModifier", dampening_frac: 0.05, actorder: null },
      observer: "memoryless_minmax",
    },
    calibration: {
      source: { kind: "file", name: "tales.txt", column: "story" },
      num_calibration_samples: 64,
      max_seq_length: 512,
      shuffle_calibration_samples: false,
      seed: 42,
      hidden_states_dtype: "BF16",
      forward_products: "F32",
      propagate_error: false,
      moe_calibrate_all_experts: true,
      moe_min_tokens_per_expert: 64,
    },
    gpu_budget_bytes: 1024 ** 3,
  },
  calibration: { samples: 64, tokens: 32_768, sha256: "a".repeat(64) },
  adapter: { vendor: "nvidia", architecture: "ada", description: "", software: false },
  files: [
    { path: "config.json", bytes: 5, sha256: "b".repeat(64) },
    { path: "model.safetensors", bytes: 7, sha256: "c".repeat(64) },
  ],
};

let folder: string;
let text: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "replay-"));
  text = join(folder, "tales.txt");
  await writeFile(text, "Once upon a time");
});

async function replay(receipt: unknown, ...more: string[]) {
  const path = join(folder, "receipt.json");
  await writeFile(path, JSON.stringify(receipt));
  return readCompressArguments(["--replay", path, "--out", join(folder, "out"), ...more]);
}

const refusal = async (receipt: unknown, ...more: string[]) =>
  await replay(receipt, ...more).then(
    () => "taken",
    (error: unknown) => (error instanceof UsageError ? error.message : String(error)),
  );

it("asks for what the receipt says, at the commit that was read", async () => {
  expect(await replay(RECEIPT, "--calibration", text)).toMatchObject({
    source: { kind: "address", text: `owner/name@${REVISION}` },
    recipe: {
      text: "gptq-W4A16",
      groupSize: 64,
      ignore: ["lm_head", "re:.*down_proj"],
      observer: null,
      dampeningFrac: 0.05,
      actorder: "none",
    },
    calibration: {
      samples: 64,
      maxSeqLength: 512,
      seed: null,
      shuffle: false,
      propagateError: false,
      minExpertTokens: null,
      hiddenStates: "BF16",
      forwardProducts: "F32",
    },
    calibrationFile: { path: text, column: "story" },
    gpuBudgetBytes: 1024 ** 3,
    receipt: RECEIPT,
  });
  const other = await replay(RECEIPT, "--calibration", text, "--gpu-budget", "2GiB");
  expect(other?.gpuBudgetBytes).toBe(2 * 1024 ** 3);
});

it("asks for what a receipt cannot name, and refuses what it says", async () => {
  expect(await refusal(RECEIPT)).toMatch(/lay on a disk: tales\.txt\. Give it by --calibration/);
  const dropped = { ...RECEIPT, source: { ...RECEIPT.source, address: null } };
  expect(await refusal(dropped, "--calibration", text)).toMatch(/Name the folder that they lie in as SOURCE/);
  expect(await refusal(dropped, folder, "--calibration", text)).toMatch(/--out .* lies in SOURCE/);
  expect(await refusal(RECEIPT, "--recipe", "W8A8")).toMatch(/--recipe cannot be given beside --replay/);
  expect(await refusal(RECEIPT, "--no-shuffle")).toMatch(/--no-shuffle cannot be given/);
  const datasetFree = { ...RECEIPT, options: { ...RECEIPT.options, calibration: null } };
  expect(await refusal(datasetFree, "--calibration", text)).toMatch(
    /the receipt says what to calibrate with/,
  );
});

it("makes the part again that the receipt is of, with what only the caller knows", async () => {
  const of = (options: object) => ({ ...RECEIPT, options: { ...RECEIPT.options, ...options } });
  const more = ["--calibration", text] as const;
  expect(await replay(RECEIPT, ...more)).toMatchObject({ part: null, statesFiles: [], share: null });
  const layers = { kind: "layers", first: 0, last: 3, forwardProducts: "float32" };
  expect(await replay(of({ part: layers }), ...more)).toMatchObject({ part: layers, statesFiles: [] });
  const rest = { kind: "rest" };
  expect(await replay(of({ part: rest }), ...more)).toMatchObject({ part: rest });
  const shared = of({ share: { index: 0, of: 2 } });
  const place = ["--share", "1/1", "--exchange", folder] as const;
  expect(await replay(shared, ...more, ...place)).toMatchObject({ share: { index: 0, of: 1, folder } });
  expect(await refusal(shared, ...more)).toMatch(/shared its samples.*--share and --exchange/);
  expect(await refusal(RECEIPT, ...more, ...place)).toMatch(/its job shared no samples/);
  expect(await refusal(RECEIPT, ...more, "--from-states", folder)).toMatch(/this one is of none/);
  expect(await refusal(RECEIPT, ...more, "--layers", "0..1")).toMatch(/says which part is made/);
  const behind = of({ part: { kind: "layers", first: 2, last: 3 } });
  expect(await refusal(behind, ...more, "--from-states", folder)).toMatch(/has no states-0*2/);
  expect(await refusal(of({ part: { kind: "states", at: [1] } }))).toMatch(/options\.part\.kind/);
});

it("refuses what no machine can give, and what is no receipt, and names the field", async () => {
  const poor = { ...RECEIPT, options: { ...RECEIPT.options, gpu_budget_bytes: 0 } };
  expect(await refusal(poor, "--calibration", text)).toMatch(/GPU budget of 0 bytes; 32 MiB is the least/);
  expect(await refusal(poor, "--calibration", text, "--gpu-budget", "1GiB")).toBe("taken");
  const label = "tales\u001b[2J";
  const hostile = { ...RECEIPT, source: { ...RECEIPT.source, address: null, label } };
  expect(await refusal(hostile, "--calibration", text)).not.toContain("\u001b");
  expect(await refusal({ ...RECEIPT, layout: 2 })).toMatch(/its layout is not 1/);
  expect(await refusal({ ...RECEIPT, files: [{ path: "a", bytes: -1, sha256: "b" }] })).toMatch(
    /files\.0\.bytes is not what it should be/,
  );
  expect(await refusal([])).toMatch(/is no receipt/);
});

it("tells what differs from the receipt, and what may be the reason", () => {
  expect(compareReceipts(RECEIPT, RECEIPT)).toEqual({
    equal: true,
    differing: [],
    causes: [],
    sentence: "All 2 files have the hashes of the receipt.",
  });
  const [config, weights] = RECEIPT.files;
  const files = [config, { ...weights, sha256: "d".repeat(64) }] as Receipt["files"];
  expect(compareReceipts(RECEIPT, { ...RECEIPT, files }).sentence).toBe(
    "1 of 2 files differ from the receipt: model.safetensors. Source, text, version and GPU are those of the receipt.",
  );
  const elsewhere = {
    ...RECEIPT,
    files,
    adapter: { ...RECEIPT.adapter, vendor: "amd", architecture: "rdna-3" },
    calibration: { samples: 64, tokens: 32_768, sha256: "e".repeat(64) },
  };
  expect(compareReceipts(RECEIPT, elsewhere)).toMatchObject({
    equal: false,
    differing: ["model.safetensors"],
    causes: [
      "the calibration’s tokens (eeeeeeeeeeee, not aaaaaaaaaaaa)",
      "the GPU (amd rdna-3, not nvidia ada)",
    ],
  });
  const strassens = { ...RECEIPT, forward_products: "F32_STRASSEN" };
  const plain = { ...RECEIPT, files, forward_products: "F32" };
  expect(compareReceipts(strassens, plain).causes).toEqual([
    "what forward passes ran on (F32, not F32_STRASSEN)",
  ]);
  expect(compareReceipts(RECEIPT, plain).causes).toEqual([]);
});
