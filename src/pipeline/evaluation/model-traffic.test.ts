import { describe, expect, it } from "vitest";
import type { FileRange } from "../../formats/files/file-ranges.ts";
import type { DecoderDescription } from "../../model/decoder-description.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import { createModelTraffic } from "./model-traffic.ts";

const MIB = 1024 ** 2;

/** Names and sizes in MiB, one after the other behind a header of 100 bytes. */
function filed(sizes: readonly (readonly [string, number])[]): SourceTensor[] {
  let start = 100;
  return sizes.map(([name, mebibytes]) => {
    const tensor = { name, file: "model.safetensors", start, end: start + mebibytes * MIB };
    start = tensor.end;
    return tensor as unknown as SourceTensor;
  });
}

const FILES = filed([
  ["lm_head.weight", 40],
  ["model.embed_tokens.weight", 40],
  ["model.layers.0.mlp.up_proj.weight_packed", 200],
  ["model.layers.0.mlp.up_proj.weight_shape", 1],
  ["model.layers.1.mlp.up_proj.weight_packed", 100],
  ["model.layers.10.mlp.up_proj.weight_packed", 10],
  ["model.norm.weight", 1],
  ["vision.patches.weight", 5],
]);

/** Only what traffic asks of a description. */
const description = {
  embedding: { tensor: "model.embed_tokens.weight" },
  layers: [0, 1, 10].map((index) => ({ name: `model.layers.${index}` })),
  head: { linear: { module: "lm_head", source: { tensor: "lm_head.weight" } } },
  finalNorm: { weight: "model.norm.weight" },
} as unknown as DecoderDescription;

function traffic() {
  const calls: string[] = [];
  const nameOf = ({ start, end }: FileRange) => {
    const within = FILES.filter((tensor) => start <= tensor.start && tensor.end <= end);
    return within.map(({ name }) => name).join("+") || `${start}..${end}`;
  };
  const source = {
    prefetch: (ranges: readonly FileRange[]) => void calls.push(`announce ${ranges.map(nameOf).join(" ")}`),
    use: (range: FileRange) => void calls.push(`use ${nameOf(range)}`),
    async take(range: FileRange) {
      calls.push(`take ${nameOf(range)}`);
      return await Promise.resolve(new Uint8Array());
    },
  };
  const model = { source, description, tensors: FILES, files: FILES, partsOf: (of: FileRange) => [of] };
  return { ...createModelTraffic(model), calls };
}

describe("an evaluation's traffic", () => {
  it("announces the step at work, and what follows until there is plenty", () => {
    const { announce, calls } = traffic();
    for (const from of [-1, 1, 3]) announce(from);
    const [head, table, first, , second, third, norm] = FILES.map(({ name }) => name);
    expect(calls).toEqual([
      `announce ${table} ${first} ${second}`,
      `announce ${second} ${third} ${head} ${norm}`,
      `announce ${head} ${norm}`,
    ]);
  });

  it("counts what nobody reads as read with its neighbours", async () => {
    const { calls, ...model } = traffic();
    for (const tensor of FILES.filter((_, index) => [0, 1, 4].includes(index))) {
      await model.take(tensor, { path: tensor.file, start: tensor.start, end: tensor.end });
    }
    expect(calls).toEqual([
      "use 0..100",
      "take lm_head.weight",
      "take model.embed_tokens.weight",
      "use model.layers.0.mlp.up_proj.weight_shape",
      "take model.layers.1.mlp.up_proj.weight_packed",
    ]);
  });
});
