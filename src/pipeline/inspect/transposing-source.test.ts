import { describe, expect, it } from "vitest";
import { tensorBytes } from "../../formats/safetensors/safetensors.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import { splitExperts } from "../../plan/checkpoint/split-experts.ts";
import type { RemoteSource } from "./remote-source.ts";
import { transposingSource } from "./transposing-source.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";

const [EXPERTS, HIDDEN, INNER] = [2, 130, 67];

function tensor(name: string, shape: readonly number[], start: number): SourceTensor {
  const dtype = "BF16";
  return { name, dtype, shape, start, end: start + tensorBytes({ name, dtype, shape }), file: "f" };
}

/** Experts as Llama 4 stores them; every 16-bit word is its own place. */
function open() {
  const gateUp = tensor("m.experts.gate_up_proj", [EXPERTS, HIDDEN, 2 * INNER], 16);
  const down = tensor("m.experts.down_proj", [EXPERTS, INNER, HIDDEN], gateUp.end);
  const file = new Uint8Array(Uint16Array.from({ length: down.end / 2 }, (_, index) => index).buffer);
  const reads: FileRange[] = [];
  const evicted: FileRange[] = [];
  const remote = {
    async read(range: FileRange) {
      reads.push(range);
      return await Promise.resolve(file.slice(range.start, range.end));
    },
    evict: async (ranges: readonly FileRange[]) => await Promise.resolve(void evicted.push(...ranges)),
  } as unknown as RemoteSource;
  const { tensors, transposed } = splitExperts([gateUp, down]);
  return { gateUp, down, tensors, reads, evicted, source: transposingSource(remote, transposed) };
}

function find(tensors: readonly SourceTensor[], name: string): SourceTensor {
  const found = tensors.find((candidate) => candidate.name === name);
  if (!found) throw new Error(`no tensor ${name}`);
  return found;
}

describe("transposed experts", () => {
  // transformers' Llama4TextExperts: hidden @ gate_up_proj[expert], its last dimension halved into gate and up.
  it.each([
    ["gate_proj", 0, 0],
    ["gate_proj", 1, 0],
    ["up_proj", 1, INNER],
  ])(
    "have in row r of %s of expert %d what column r + offset has in the file",
    async (part, expert, first) => {
      const { gateUp, tensors, source } = open();
      const { file: path, end } = find(tensors, `m.experts.${expert}.${part}.weight`);
      const values = new Uint16Array((await source.read({ path, start: 0, end })).buffer);
      const expected = Array.from({ length: INNER * HIDDEN }, (_, index) => {
        const [row, column] = [Math.floor(index / HIDDEN), index % HIDDEN];
        return gateUp.start / 2 + (expert * HIDDEN + column) * 2 * INNER + first + row;
      });
      expect([...values]).toEqual(expected);
    },
  );

  it("are read in any range, and each matrix once", async () => {
    const { down, tensors, reads, source } = open();
    const { file: path, end } = find(tensors, "m.experts.1.down_proj.weight");
    const whole = await source.read({ path, start: 0, end });
    for (const start of [0, 2, 130, 134, 4001]) {
      expect(await source.read({ path, start, end: start + 501 })).toEqual(whole.slice(start, start + 501));
    }
    const bytes = (down.end - down.start) / EXPERTS;
    expect(reads).toEqual([{ path: "f", start: down.start + bytes, end: down.end }]);
  });

  it("are done with once all of their matrix is", async () => {
    const { gateUp, tensors, evicted, source } = open();
    const paths = tensors.filter(({ name }) => /0\.(gate|up)_proj/.test(name));
    await source.evict(paths.map(({ file: path, end }) => ({ path, start: 0, end })));
    const end = gateUp.start + (gateUp.end - gateUp.start) / EXPERTS;
    expect(evicted).toEqual([{ path: "f", start: gateUp.start, end }]);
  });
});
