import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StorageError } from "../../errors.ts";
import {
  deleteJobFolder,
  findOutputFolder,
  listJobFolders,
  openJobFolder,
  openOutputFolder,
} from "../../offload/job-folder.ts";
import { replaceOutputFile } from "../../offload/output-store.ts";
import type { MeasuredQuality } from "../../package/quality-report.ts";
import type { ResultSummary } from "../../api/compressor-api.ts";
import { recordQuality, withPresentSizes } from "./record-quality.ts";

const JOB = "quality-test";
const CARD = "# tiny\n\n## Use\n\nWith vLLM.\n";

const QUALITY: MeasuredQuality = {
  text: "novel.txt",
  windowing: "Windows of 512 tokens.",
  windows: 4,
  tokens: 2044,
  model: { label: "result", perplexity: 7.4, weightBytes: 400, bitsPerWeight: 4.16 },
  original: null,
  kl: null,
  greedyAgreement: null,
  layers: [],
  forwardPass: "onnxruntime-web",
  provider: "wasm",
  check: null,
  seconds: 1,
  notes: [],
};

const RESULT: ResultSummary = {
  jobId: JOB,
  name: "tiny-W4A16",
  files: [
    { path: "README.md", bytes: CARD.length },
    { path: "model.safetensors", bytes: 100 },
    { path: "quantization-report.json", bytes: 2 },
  ],
  sourceBytes: 400,
  resultBytes: 100,
  dequantized: false,
  bitsPerWeight: 4.16,
  peakGpuBytes: 0,
  plannedGpuBytes: 0,
  worstSubmitMs: 0,
  longestSubmits: [],
  gpuBusySeconds: 1,
  seconds: {},
  recipeYaml: "",
  modules: [],
  notes: [],
};

async function textOf(path: string): Promise<string> {
  const output = await findOutputFolder(JOB);
  const file = await output?.getFileHandle(path);
  return (await (await file?.getFile())?.text()) ?? "";
}

beforeEach(async () => {
  const output = await openOutputFolder(await openJobFolder(JOB));
  await replaceOutputFile(output, "README.md", CARD);
  await replaceOutputFile(output, "quantization-report.json", "{}");
});

afterEach(async () => {
  await deleteJobFolder(JOB).catch(() => undefined);
});

describe("a recorded quality", () => {
  it("is in the result's report and card, and the summary knows their new sizes", async () => {
    await recordQuality(JOB, QUALITY);
    expect(JSON.parse(await textOf("quantization-report.json"))).toMatchObject({
      quality: { perplexity: 7.4, tokens: 2044 },
    });
    const card = await textOf("README.md");
    expect(card).toContain("| perplexity | 7.4000 |");
    const sizes = Object.fromEntries(
      (await withPresentSizes(RESULT)).files.map(({ path, bytes }) => [path, bytes]),
    );
    expect(sizes["README.md"]).toBe(new TextEncoder().encode(card).byteLength);
    expect(sizes["quantization-report.json"]).toBe((await textOf("quantization-report.json")).length);
    expect(sizes["model.safetensors"]).toBe(100);
  });

  it("leaves whole files behind when it is interrupted between or within them", async () => {
    const output = await findOutputFolder(JOB);
    const exclusive: FileSystemCreateWritableOptions & { mode: string } = {
      mode: "exclusive",
      keepExistingData: false,
    };
    const half = await (await output?.getFileHandle("README.md"))?.createWritable(exclusive);
    await half?.write("# ti");
    await expect(recordQuality(JOB, QUALITY)).rejects.toThrow(StorageError);
    await half?.abort();
    expect(await textOf("README.md")).toBe(CARD);
    const report = await textOf("quantization-report.json");
    expect(JSON.parse(report)).toMatchObject({ quality: { perplexity: 7.4 } });
    const summary = await withPresentSizes(RESULT);
    expect(summary.files.map(({ bytes }) => bytes)).toEqual([CARD.length, 100, report.length]);
  });

  it("knows no receipt where a full disk left an empty one", async () => {
    const output = await openOutputFolder(await openJobFolder(JOB));
    await output.getFileHandle("receipt.json", { create: true });
    const present = async () => (await withPresentSizes(RESULT)).files.map(({ path }) => path);
    expect(await present()).not.toContain("receipt.json");
    await replaceOutputFile(output, "receipt.json", "{}");
    expect(await present()).toContain("receipt.json");
  });

  it("does not bring back a result that was deleted", async () => {
    await deleteJobFolder(JOB);
    await expect(recordQuality(JOB, QUALITY)).rejects.toThrow("no longer in the browser’s storage");
    expect(await listJobFolders()).not.toContain(JOB);
  });
});
