import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { SourceApi } from "../../api/source-api.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";
import { layOutSafetensors } from "../../formats/safetensors/safetensors.ts";
import { turnOver } from "../../formats/weights/turn-over.ts";
import { layerLinears } from "../../model/layer-linears.ts";
import { readRows } from "../../evaluate/weights/weight-values.ts";
import { parseTensors } from "../../testing/fixtures/architecture-fixture.ts";
import { openStoredModel } from "./open-stored-model.ts";

const FOLDER = "e2e/fixtures/architectures/qwen3-moe";
const [HIDDEN, INNER, EXPERTS] = [64, 32, 4];

const original = parseTensors(
  "model.safetensors",
  Uint8Array.from(readFileSync(`${FOLDER}/model.safetensors`)),
);

function bytesOf(name: string): Uint8Array<ArrayBuffer> {
  const tensor = original.get(name);
  if (!tensor) throw new Error(`The fixture has no tensor ${name}`);
  return tensor.bytes;
}

/** The checkpoint with each layer's experts in two tensors, inputs before outputs, as Qwen3-VL's and Llama 4's lie. */
function turnedFile(): Uint8Array<ArrayBuffer> {
  const plain = [...original].filter(([name]) => !name.includes(".experts."));
  const stacked = [0, 1].flatMap((layer) => {
    const expert = (index: number, part: string) =>
      bytesOf(`model.layers.${layer}.mlp.experts.${index}.${part}_proj.weight`);
    const gateUps = all((index) => turned([expert(index, "gate"), expert(index, "up")], 2 * INNER, HIDDEN));
    const downs = all((index) => turned([expert(index, "down")], HIDDEN, INNER));
    const name = `model.layers.${layer}.mlp.experts`;
    return [
      [`${name}.gate_up_proj`, { dtype: "BF16", shape: [EXPERTS, HIDDEN, 2 * INNER], bytes: gateUps }],
      [`${name}.down_proj`, { dtype: "BF16", shape: [EXPERTS, INNER, HIDDEN], bytes: downs }],
    ] as const;
  });
  const tensors = [...plain, ...stacked];
  const { header, entries, fileBytes } = layOutSafetensors(
    tensors.map(([name, { shape }]) => ({ name, dtype: "BF16", shape })),
  );
  const file = new Uint8Array(fileBytes);
  file.set(header);
  const starts = new Map(entries.map(({ name, start }) => [name, start]));
  for (const [name, { bytes }] of tensors) file.set(bytes, starts.get(name));
  return file;
}

function all(bytesOfExpert: (index: number) => Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return joined(Array.from({ length: EXPERTS }, (_, index) => bytesOfExpert(index)));
}

/** Rows of one matrix after another's, the whole turned over. */
function turned(parts: readonly Uint8Array<ArrayBuffer>[], rows: number, columns: number) {
  return turnOver(joined(parts), { bytesEach: 2, width: columns, firstColumn: 0, columns: rows }, 0, columns);
}

function joined(parts: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function sourceOf(files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>): SourceApi {
  const read = async ({ path, start, end }: FileRange) =>
    await Promise.resolve((files.get(path) ?? new Uint8Array()).slice(start, end));
  const listed = Array.from(files, ([path, { byteLength: bytes }]) => ({ path, bytes }));
  return {
    open: async () => await Promise.resolve({ label: "test", files: listed }),
    readFile: async (path: string) => await Promise.resolve(files.get(path)),
    read,
    take: read,
    use: () => undefined,
    readRange: read,
  } as unknown as SourceApi;
}

describe("a model whose experts lie turned over", () => {
  it("is evaluated with the same weights as one whose experts are Linears", async () => {
    const files = new Map([
      ["config.json", Uint8Array.from(readFileSync(`${FOLDER}/config.json`))],
      ["model.safetensors", turnedFile()],
    ]);
    const { stored, summary } = await openStoredModel(sourceOf(files), { kind: "files", files: [] }, null);
    expect(summary.bitsPerWeight).toBe(16);
    for (const linear of stored.description.layers.flatMap(layerLinears)) {
      const words = new Uint16Array(bytesOf(`${linear.module}.weight`).slice().buffer);
      for (const model of [stored, stored.once?.() ?? stored]) {
        const values = await readRows(model, linear, 0, linear.rows);
        expect([...new Uint32Array(values.buffer)]).toEqual(Array.from(words, (bits) => bits * 2 ** 16));
      }
    }
    expect(stored.once).toBeDefined();
  });
});

describe("a model whose head is its embedding table", () => {
  it("is read once by one who reads each layer once", async () => {
    const folder = "e2e/fixtures/architectures/granite";
    const names = ["config.json", "model.safetensors"];
    const files = new Map(names.map((name) => [name, Uint8Array.from(readFileSync(`${folder}/${name}`))]));
    const source = sourceOf(files);
    let takenBytes = 0;
    const take: SourceApi["take"] = async (range) => {
      takenBytes += range.end - range.start;
      return await source.read(range);
    };
    const { stored } = await openStoredModel({ ...source, take }, { kind: "files", files: [] }, null);
    const { head, embedding, hiddenSize, vocabSize } = stored.description;
    expect(head.tied).toBe(true);
    const ids = [[3, 200, 7], [vocabSize - 1]];
    const expected = [await stored.embed(ids), await stored.read(embedding.tensor)];
    const once = stored.once?.() ?? stored;
    expect([await once.embed(ids), await once.read(head.linear.source.tensor)]).toEqual(expected);
    expect(takenBytes).toBe(vocabSize * hiddenSize * 2);
  });
});

describe("gpt-oss's MXFP4 files", () => {
  it("are evaluated as the plain weights that their codes mean", async () => {
    const folder = "e2e/fixtures/architectures/gpt-oss";
    const plain = parseTensors(
      "model.safetensors",
      Uint8Array.from(readFileSync(`${folder}/model.safetensors`)),
    );
    const config = JSON.parse(readFileSync(`${folder}/config.json`, "utf8")) as Record<string, unknown>;
    const tensors = [...plain].flatMap(([name, tensor]) => {
      if (!/experts\.(gate_up|down)_proj$/.test(name)) return [{ name, ...tensor }];
      const [experts = 0, inputs = 0, outputs = 0] = tensor.shape;
      const [blocks, scales] = [experts * outputs * (inputs / 32) * 16, experts * outputs * (inputs / 32)];
      return [
        // Twice the code 2, which is 1, in every byte.
        {
          name: `${name}_blocks`,
          dtype: "U8",
          shape: [experts, outputs, inputs / 32, 16],
          bytes: new Uint8Array(blocks).fill(0x22),
        },
        // 2^(row % 3)
        {
          name: `${name}_scales`,
          dtype: "U8",
          shape: [experts, outputs, inputs / 32],
          bytes: Uint8Array.from(
            { length: scales },
            (_, index) => 127 + ((Math.floor(index / (inputs / 32)) % outputs) % 3),
          ),
        },
      ];
    });
    const { header, entries, fileBytes } = layOutSafetensors(
      tensors.map(({ name, dtype, shape }) => ({ name, dtype: dtype as "U8", shape })),
    );
    const file = new Uint8Array(fileBytes);
    file.set(header);
    const starts = new Map(entries.map(({ name, start }) => [name, start]));
    for (const { name, bytes } of tensors) file.set(bytes, starts.get(name));
    const files = new Map([
      [
        "config.json",
        new TextEncoder().encode(
          JSON.stringify({ ...config, quantization_config: { quant_method: "mxfp4" } }),
        ),
      ],
      ["model.safetensors", file],
    ]);
    const { stored, summary } = await openStoredModel(sourceOf(files), { kind: "files", files: [] }, null);
    expect(summary.format).toBe("mxfp4");
    expect(summary.bitsPerWeight).toBeLessThan(16);
    const experts = stored.description.layers
      .flatMap(layerLinears)
      .filter(({ module }) => /experts\.\d/.test(module));
    expect(experts.length).toBeGreaterThan(0);
    for (const linear of experts) {
      const { firstColumn = 0, step = 1 } = linear.source.turned ?? {};
      const values = await readRows(stored, linear, 0, linear.rows);
      const row = (index: number) => Math.floor(index / linear.columns) * step + firstColumn;
      expect(values).toEqual(values.map((_, index) => 2 ** (row(index) % 3)));
    }
  });
});
