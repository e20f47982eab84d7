import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UploadRing } from "../../gpu/staging.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { checkShapes } from "../../model/check-tensors.ts";
import {
  type ArchitectureFixture,
  fixtureWeights,
  floatDtype,
  floatsOf,
  loadArchitecture,
  relativeError,
} from "../../testing/architecture-fixture.ts";
import { openTestGpu, type TestGpu } from "../../testing/open-test-gpu.ts";
import { embedTokens } from "./embed-tokens.ts";
import { forwardLayer } from "./forward-layer.ts";
import { finalNorm, logits, logitsStride } from "./head/logits.ts";
import { createBatch } from "./token-batch.ts";
import { createWorkspace, planWorkspace } from "./workspace.ts";

let test: TestGpu;
let uploads: UploadRing;
beforeAll(async () => {
  test = await openTestGpu();
  uploads = await UploadRing.create(test.gpu, { pieceBytes: 65_536, pieces: 1 });
});
afterAll(() => {
  uploads[Symbol.dispose]();
  test[Symbol.dispose]();
});

/** Float32 rounding through a few layers; a wrong formula is off by 1e-2 or more. */
const TOLERANCE = 2e-5;

/** Hidden states after the embedding and each layer (the last one normed), then logits: largest relative errors. */
async function errors({ config, tensors, reference }: ArchitectureFixture): Promise<number[]> {
  const { gpu } = test;
  const description = describeDecoder(config, tensors.keys());
  checkShapes(
    description,
    [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype: floatDtype(dtype), shape })),
  );
  const ids = new BigInt64Array(reference.get("input_ids")?.bytes.slice().buffer ?? new ArrayBuffer());
  const [sequences = 0, length = 0] = reference.get("input_ids")?.shape ?? [];
  const table = tensors.get(description.embedding.tensor);
  if (!table) throw new Error("The fixture has no embedding");
  const states = await embedTokens(
    {
      dtype: floatDtype(table.dtype),
      rows: description.vocabSize,
      columns: description.hiddenSize,
      multiplier: description.embedding.multiplier,
      read: (start, end) => Promise.resolve(table.bytes.subarray(start, end)),
    },
    Array.from(ids, Number),
  );
  const tokens = sequences * length;
  const plan = planWorkspace(description.layers, { tokens, longest: length, maxBufferBytes: 2 ** 27 });
  using weights = fixtureWeights(test, description, tensors);
  using batch = await createBatch(
    gpu,
    uploads,
    Array.from({ length: sequences }, () => length),
  );
  using workspace = await createWorkspace(gpu, uploads, plan);
  using hidden = await test.upload("hidden states", states);
  using output = await test.empty("logits", tokens * logitsStride(description) * 4);
  const pass = { gpu, weights, workspace, batch };
  const found = [relativeError(states, floatsOf(reference, "hidden_0"))];
  for (const [index, layer] of description.layers.entries()) {
    await forwardLayer(pass, layer, hidden);
    if (index === description.layers.length - 1) break;
    found.push(relativeError(await test.readFloats(hidden), floatsOf(reference, `hidden_${index + 1}`)));
  }
  const normed = await finalNorm(pass, description, hidden, workspace.normed, tokens);
  const last = await test.readFloats(workspace.normed, tokens * description.hiddenSize);
  found.push(relativeError(last, floatsOf(reference, `hidden_${description.layers.length}`)));
  await logits(pass, description, normed, output);
  found.push(relativeError(await test.readFloats(output), floatsOf(reference, "logits")));
  return found;
}

const ARCHITECTURES = [
  "cohere",
  "gemma2",
  "gemma3",
  "granite",
  "llama",
  "llama-bias",
  "llama3-rope",
  "mistral-sliding",
  "mixtral",
  "olmo2",
  "phi3",
  "qwen2",
  "qwen2-moe",
  "qwen3",
  "qwen3-moe",
  "smollm3",
  "stablelm",
  "starcoder2",
];

describe("the forward pass agrees with PyTorch in float32", () => {
  it.each(ARCHITECTURES)("%s", async (name) => {
    const found = await errors(await loadArchitecture(name));
    for (const error of found) expect(error).toBeLessThan(TOLERANCE);
  });
});
