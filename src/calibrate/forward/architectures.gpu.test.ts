import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkShapes } from "../../model/check-tensors.ts";
import { type DecoderDescription, rowSize } from "../../model/decoder-description.ts";
import {
  type ArchitectureFixture,
  floatDtype,
  floatsOf,
  loadArchitecture,
  relativeError,
} from "../../testing/architecture-fixture.ts";
import { openDecoder } from "../../testing/open-decoder.ts";
import { openTestGpu, type TestGpu } from "../../testing/open-test-gpu.ts";
import { forwardLayer } from "./forward-layer.ts";
import { finalNorm, logits, logitsStride } from "./head/logits.ts";

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

/** Float32 rounding through a few layers; a wrong formula is off by 1e-2 or more. */
const TOLERANCE = 2e-5;

/**
 * The delta rule gives small values that a norm makes large, and rounding with them: transformers' own float32 is 2.4e-4 off
 * its float64, which this fixture's reference therefore holds.
 */
const LOOSE = new Map([["qwen3-next", 1e-4]]);

const ARCHITECTURES = [
  "afmoe",
  "apertus",
  "cohere",
  "deepseek-v3",
  "dots1",
  "falcon-h1",
  "gemma2",
  "gemma3",
  "gemma4",
  "gemma4-moe",
  "gpt-neox",
  "gpt-oss",
  "granite",
  "lfm2",
  "llama",
  "llama-bias",
  "llama3-rope",
  "mimo-v2",
  "mistral-sliding",
  "mixtral",
  "olmo2",
  "phi3",
  "phimoe",
  "qwen2",
  "qwen2-moe",
  "qwen3",
  "qwen3-moe",
  "qwen3-next",
  "smollm3",
  "stablelm",
  "starcoder2",
];

/** Without what rows carry behind the hidden states. */
function hiddenOf(description: DecoderDescription, rows: Float32Array): Float32Array {
  const width = rowSize(description);
  return rows.filter((_, index) => index % width < description.hiddenSize);
}

/** Hidden states after the embedding and each layer (the last one normed), then logits: largest relative errors. */
async function errors(fixture: ArchitectureFixture): Promise<number[]> {
  const { reference, tensors } = fixture;
  using decoder = await openDecoder(test, fixture);
  const { description, pass, hidden, states } = decoder;
  checkShapes(
    description,
    [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype: floatDtype(dtype), shape })),
  );
  const { tokens } = pass.batch;
  const found = [relativeError(hiddenOf(description, states), floatsOf(reference, "hidden_0"))];
  for (const [index, layer] of description.layers.entries()) {
    await forwardLayer(await decoder.passOf(index), layer, hidden);
    if (index === description.layers.length - 1) break;
    const now = hiddenOf(description, await test.readFloats(hidden));
    found.push(relativeError(now, floatsOf(reference, `hidden_${index + 1}`)));
  }
  const normed = await finalNorm(pass, description, hidden, pass.workspace.normed, tokens);
  const last = await test.readFloats(pass.workspace.normed, tokens * description.hiddenSize);
  found.push(relativeError(last, floatsOf(reference, `hidden_${description.layers.length}`)));
  using output = await test.empty("logits", tokens * logitsStride(description) * 4);
  await logits(pass, description, normed, output);
  found.push(relativeError(await test.readFloats(output), floatsOf(reference, "logits")));
  return found;
}

describe("the forward pass agrees with PyTorch in float32", () => {
  it.each(ARCHITECTURES)("%s", async (name) => {
    for (const error of await errors(await loadArchitecture(name)))
      expect(error).toBeLessThan(LOOSE.get(name) ?? TOLERANCE);
  });
});
