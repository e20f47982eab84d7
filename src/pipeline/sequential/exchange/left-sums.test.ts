import { expect, it } from "vitest";
import { createLeftSums } from "./left-sums.ts";

it("keeps a layer's sums for a share that begins it anew, until the next layer is quantized", async () => {
  const folder = new Set(["layer-0/a", "layer-0/b", "layer-1/a", "layer-2/a"]);
  const drop = async (names: readonly string[]) =>
    await Promise.resolve(names.forEach((name) => folder.delete(name)));
  const sums = createLeftSums({ drop });
  await sums.keep(["layer-0/a", "layer-0/b"]);
  expect(folder.size).toBe(4);
  await sums.keep(["layer-1/a"]);
  expect([...folder]).toEqual(["layer-1/a", "layer-2/a"]);
  await sums.keep([]);
  expect([...folder]).toEqual(["layer-2/a"]);
});
