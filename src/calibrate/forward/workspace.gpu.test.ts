import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UploadRing } from "../../gpu/staging/upload-ring.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { loadArchitecture } from "../../testing/fixtures/architecture-fixture.ts";
import { openTestGpu, type TestGpu } from "../../testing/test-gpu/open-test-gpu.ts";
import { planWorkspace } from "./plan-workspace.ts";
import { batchBytes, createBatch } from "./token-batch.ts";
import { createWorkspace } from "./workspace.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

describe("the workspace", () => {
  it.each(["llama", "gemma3", "qwen2-moe"])(
    "takes the bytes that were planned, and gives them back (%s)",
    async (name) => {
      const { memory } = test.gpu;
      const { config, tensors } = await loadArchitecture(name);
      const { layers } = describeDecoder(config, tensors.keys());
      const size = { tokens: 51, longest: 40, maxBufferBytes: 2 ** 27, mlpTokens: 16 };
      const plan = planWorkspace(layers, size);
      using uploads = await UploadRing.create(test.gpu, { pieceBytes: 65_536, pieces: 1 });
      const before = memory.bytes;
      const workspace = await createWorkspace(test.gpu, uploads, plan);
      await test.gpu.queue.flush();
      expect(memory.bytes - before).toBe(plan.bytes);
      workspace[Symbol.dispose]();
      const lengths = [40, 11];
      const batch = await createBatch(test.gpu, uploads, lengths);
      await test.gpu.queue.flush();
      expect(memory.bytes - before).toBe(batchBytes(lengths));
      batch[Symbol.dispose]();
      expect(memory.bytes).toBe(before);
    },
  );

  it("runs MLPs over fewer tokens, and refuses batches, where buffers are small", async () => {
    const { config, tensors } = await loadArchitecture("llama");
    const { layers } = describeDecoder(config, tensors.keys());
    const plan = planWorkspace(layers, { tokens: 512, longest: 512, maxBufferBytes: 300_000 });
    expect(plan.mlpTokens).toBe(256);
    expect(plan.scratchBytes).toBeLessThanOrEqual(300_000);
    expect(() => planWorkspace(layers, { tokens: 1024, longest: 512, maxBufferBytes: 300_000 })).toThrow(
      "Queries, keys and values of 1024 tokens with 128 values each need a buffer of",
    );
  });

  it("has room for latents that are wider than the hidden states", async () => {
    const { config, tensors } = await loadArchitecture("deepseek-v3");
    const { layers } = describeDecoder({ ...config, q_lora_rank: 96 }, tensors.keys());
    const plan = planWorkspace(layers, { tokens: 20, longest: 20, maxBufferBytes: 2 ** 27 });
    expect(plan.normedBytes).toBe(20 * 96 * 4);
  });
});
