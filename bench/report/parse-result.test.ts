import { expect, it } from "vitest";
import { parseResult } from "./parse-result.ts";

const MINIMAL = {
  head: {
    adapter: { vendor: "nvidia", architecture: "hopper", device: "", description: "" },
    gpuClock: "wall",
    small: true,
  },
  ceilings: { flop: 1, byte: 1 },
  kernels: [{ name: "product", unit: "flop", rate: 1, failure: null }],
  endToEnd: [{ name: "a model", figures: null, failure: "The network is gone." }],
};

it("reads what a comparison needs and keeps the rest", () => {
  const file = { ...MINIMAL, remark: "kept" };
  expect(parseResult("a.json", JSON.stringify(file))).toEqual(file);
});

it("refuses other files with the place that is wrong", () => {
  const broken = { ...MINIMAL, kernels: [{ name: "product", unit: "miles", rate: 1, failure: null }] };
  expect(() => parseResult("a.json", JSON.stringify(broken))).toThrow(
    /^a\.json is not a result of the benchmark: kernels\.0\.unit is wrong/,
  );
  expect(() => parseResult("a.json", "{")).toThrow(
    /^a\.json is not a result of the benchmark: it is not valid JSON/,
  );
});
