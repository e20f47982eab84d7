import { expect, it } from "vitest";
import { weightArgs } from "../../formats/schemes/quantization-args.ts";
import { planTiling } from "./plan-tiling.ts";
import type { RtnTask } from "./tile-buffers.ts";

const GIB = 1024 ** 3;

function task(module: string, rows: number, columns: number): RtnTask {
  const weights = weightArgs({ num_bits: 4, strategy: "group", group_size: 128 });
  return { module, dtype: "BF16", rows, columns, weights, format: "pack-quantized" };
}

it("has more tiles of experts under way than of large weights, in no more memory", () => {
  const query = task("q_proj", 4096, 2048);
  const experts = Array.from({ length: 16 }, (_, at) => task(`experts.${at}.up_proj`, 768, 2048));
  const [large, small] = [planTiling([query], GIB), planTiling([query, ...experts], GIB)];
  expect(small.slots).toBeGreaterThan(large.slots);
  expect(small.peakBytes).toBeLessThanOrEqual(large.peakBytes);
});
