import { expect, it } from "vitest";
import { invariant } from "../../../errors.ts";
import { MIB, planFor } from "../../../testing/layers/small-layer.ts";
import { batchesOf } from "../samples/sample-chunks.ts";
import { layerSeconds } from "./layer-seconds.ts";

const LENGTHS = Array.from({ length: 32 }, () => 256);
const {
  layers: [layer],
  plan: { shape },
} = planFor({ experts: 0, budgetBytes: 64 * MIB }, "");

/** One run of the samples, for each of whose uses an MLP's weights come anew. */
function seconds(maxTokens: number, mlpTokens: number): number {
  invariant(layer, "the model has a layer");
  const { linears } = layer;
  const streamed = linears.filter(({ module }) => module.includes(".mlp."));
  const onload = { bytes: 0, resident: 0, streamed, residency: { residentBytes: 0, tileBytes: 0 } };
  return layerSeconds(layer, [{ onload, linears, times: 1 }], {
    lengths: LENGTHS,
    batches: batchesOf(LENGTHS, { maxTokens, byChunk: false }),
    shape: { ...shape, maxTokens, mlpTokens },
    maxBufferBytes: 128 * MIB,
  });
}

it("counts the parts that MLPs of batches are cut into, whatever size of batches was asked for", () => {
  // A batch has a unit of four sequences at least.
  expect(seconds(256, 256)).toBe(seconds(1024, 256));
  expect(seconds(256, 1024)).toBe(seconds(1024, 1024));
  // Of 1,500 tokens a part has room for one unit, too.
  expect(seconds(4096, 1500)).toBe(seconds(4096, 1024));
  expect(seconds(256, 512)).toBeGreaterThan(seconds(256, 1024));
});
