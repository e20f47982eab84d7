import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, testBrowser } from "./fixtures.ts";
import { compress, request, resultFile, UNSHOWN } from "./jobs.ts";

interface Outcome {
  readonly status: number;
  readonly stderr: string;
  /** The last line of the output, parsed. */
  readonly last: Record<string, unknown>;
}

async function evaluate(...args: string[]): Promise<Outcome> {
  const env = { ...process.env, ...(await testBrowser()) };
  return await new Promise((resolve) => {
    execFile("node", ["scripts/evaluate.mjs", ...args, "--json"], { env }, (error, stdout, stderr) => {
      const lines = stdout.trim().split("\n");
      const status = typeof error?.code === "number" ? error.code : 0;
      resolve({ status, stderr, last: JSON.parse(lines.at(-1) ?? "") });
    });
  });
}

/**
 * Perplexity of the sample's results on the first eight lines of its evaluation.txt by transformers 5.17 with
 * compressed-tensors 0.19 (torch 2.13, float32): each line by itself with its first token, mean over all 1114 tokens after it.
 */
const BY_TRANSFORMERS = { W4A16: 1.464660535548249, W8A8: 1.4650188295615396 };
const LINES = 8;

test("the perplexities of results are what transformers measures on the same files", async ({ page }) => {
  const folder = await mkdtemp(join(tmpdir(), "evaluate-"));
  await page.goto(UNSHOWN);
  for (const recipe of Object.keys(BY_TRANSFORMERS)) {
    const { jobId, files } = await compress(page, request("sample/", recipe));
    await mkdir(join(folder, recipe));
    for (const path of files) {
      await writeFile(join(folder, recipe, path), await resultFile(page, jobId, path));
    }
  }
  const lines = (await readFile("public/sample/evaluation.txt", "utf8")).split("\n").slice(0, LINES);
  const text = join(folder, "evaluation.txt");
  await writeFile(text, lines.join("\n"));
  const asked = ["--provider", "wasm", "--text", text];
  const { last } = await evaluate(join(folder, "W4A16"), "--against", join(folder, "W8A8"), ...asked);
  expect(last).toMatchObject({
    ok: true,
    tokens: 1114,
    kl: { mean: expect.any(Number), worst: expect.any(Number) },
    greedyAgreement: expect.any(Number),
  });
  expect(Math.abs(Number(last["perplexity"]) / BY_TRANSFORMERS.W4A16 - 1)).toBeLessThan(1e-4);
  expect(Math.abs(Number(last["originalPerplexity"]) / BY_TRANSFORMERS.W8A8 - 1)).toBeLessThan(1e-4);
});

test("token ids of another model fail in words", async () => {
  const ids = join(await mkdtemp(join(tmpdir(), "evaluate-")), "ids.json");
  await writeFile(ids, JSON.stringify([[0, 260, 803, 999_999]]));
  const { status, stderr, last } = await evaluate("public/sample", "--ids", ids, "--provider", "wasm");
  expect(status).toBe(1);
  expect(last).toMatchObject({ ok: false });
  expect(stderr).toMatch(/Token id 999999 is outside the model's vocabulary of \d+\./);
});

test("a folder that is no model fails in words", async () => {
  const empty = await mkdtemp(join(tmpdir(), "evaluate-"));
  const { status, stderr, last } = await evaluate(empty);
  expect(status).toBe(1);
  expect(last).toMatchObject({ ok: false });
  expect(stderr).toContain("config.json");
});

test("a command line that makes no sense is told what is wrong with it", async () => {
  const { status, stderr } = await evaluate("public/sample", "--provider", "abacus");
  expect(status).toBe(2);
  expect(stderr).toContain("--provider abacus");
});
