import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { referenceNorm } from "../../calibrate/forward/norm/reference.ts";
import type { FusedRotation } from "../../formats/modifiers/spinquant.ts";
import type { FileRange } from "../../formats/files/file-ranges.ts";
import type { DecoderDescription } from "../../model/decoder-description.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { feedForwardLinears, mlpsOf } from "../../model/layer-linears.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";
import { type RotatedTensors, rotatedTensors } from "../../plan/rotation/rotated-tensors.ts";
import {
  type FixtureTensors,
  floatsOf,
  parseTensors,
  relativeError,
} from "../../testing/fixtures/architecture-fixture.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { referenceLayer } from "../../testing/fixtures/reference-layer.ts";
import type { RemoteSource } from "./remote-source.ts";
import { rotatingSource } from "./rotating-source.ts";
import type { Linear, Norm } from "../../model/weight-description.ts";

const SEED = 3;

interface Model {
  readonly description: DecoderDescription;
  readonly tensors: FixtureTensors;
  readonly stored: readonly SourceTensor[];
  readonly file: Uint8Array<ArrayBuffer>;
  readonly reference: FixtureTensors;
}

function readTensors(name: string, file: string): FixtureTensors {
  return parseTensors(file, new Uint8Array(readFileSync(`e2e/fixtures/architectures/${name}/${file}`)));
}

/** A fixture with its weights as float32, so that rotated ones are rounded as little as the forward pass is. */
function openModel(name: string): Model {
  const config = JSON.parse(readFileSync(`e2e/fixtures/architectures/${name}/config.json`, "utf8")) as object;
  const found = readTensors(name, "model.safetensors");
  const tensors = new Map<
    string,
    { dtype: string; shape: readonly number[]; bytes: Uint8Array<ArrayBuffer> }
  >();
  const stored: SourceTensor[] = [];
  const parts: Uint8Array[] = [];
  let start = 0;
  for (const [tensor, { shape }] of found) {
    const bytes = new Uint8Array(floatsOf(found, tensor).buffer);
    tensors.set(tensor, { dtype: "F32", shape, bytes });
    stored.push({ name: tensor, dtype: "F32", shape, start, end: start + bytes.byteLength, file: "f" });
    parts.push(bytes);
    start += bytes.byteLength;
  }
  const file = new Uint8Array(start);
  for (const [index, part] of parts.entries()) file.set(part, stored[index]?.start ?? 0);
  const description = describeDecoder({ ...config }, tensors.keys());
  return { description, tensors, stored, file, reference: readTensors(name, "reference.safetensors") };
}

function openRotated({ stored, description, file }: Model, rotations: readonly FusedRotation[]) {
  const made = rotatedTensors(stored, description, { rotations, seed: SEED });
  const reads: FileRange[] = [];
  const remote = {
    async read(range: FileRange) {
      reads.push(range);
      return await Promise.resolve(file.slice(range.start, range.end));
    },
  } as unknown as RemoteSource;
  return { made, reads, source: rotatingSource(remote, made) };
}

async function readAll(source: RemoteSource, { tensors }: RotatedTensors): Promise<FixtureTensors> {
  const entries = tensors.map(async ({ name, dtype, shape, file: path, start, end }) => {
    return [name, { dtype, shape, bytes: await source.read({ path, start, end }) }] as const;
  });
  return new Map(await Promise.all(entries));
}

/** Logits of the fixture's ids, in float64. */
function logitsOf(
  { description, reference }: Pick<Model, "description" | "reference">,
  tensors: FixtureTensors,
) {
  const { embedding, hiddenSize, layers, finalNorm, head } = description;
  const ids = Array.from(
    new BigInt64Array((reference.get("input_ids")?.bytes ?? new Uint8Array()).slice().buffer),
    Number,
  );
  const table = floatsOf(tensors, embedding.tensor);
  let hidden = Float64Array.from({ length: ids.length * hiddenSize }, (_, index) => {
    const id = ids[Math.floor(index / hiddenSize)] ?? 0;
    return (table[id * hiddenSize + (index % hiddenSize)] ?? 0) * embedding.multiplier;
  });
  const lengths = [ids.length / 2, ids.length / 2];
  for (const layer of layers)
    hidden = Float64Array.from(referenceLayer(layer, tensors, hidden, lengths).output);
  const normed = referenceNorm(finalNorm, hidden, floatsOf(tensors, finalNorm.weight ?? ""), null);
  const { rows, source } = head.linear;
  const weight = floatsOf(tensors, source.tensor);
  return Float64Array.from({ length: ids.length * rows }, (_, index) => {
    const [token, row] = [Math.floor(index / rows), index % rows];
    let sum = 0;
    for (let k = 0; k < hiddenSize; k++)
      sum += (normed[token * hiddenSize + k] ?? 0) * (weight[row * hiddenSize + k] ?? 0);
    return sum * head.scale;
  });
}

/** The description of the rotated checkpoint: its head is a tensor of its own. */
function untiedOf(description: DecoderDescription): DecoderDescription {
  const { linear } = description.head;
  const source = { ...linear.source, tensor: `${linear.module}.weight` };
  return { ...description, head: { ...description.head, tied: false, linear: { ...linear, source } } };
}

describe("a rotated model", () => {
  // Tied embeddings; biases; one Linear for queries, keys and values; norms in heads; multipliers.
  it.each(["llama", "llama-bias", "phi3", "qwen3", "granite"])("computes what %s computes", async (name) => {
    const model = openModel(name);
    const { source, made } = openRotated(model, ["R1", "R2"]);
    const tensors = await readAll(source, made);
    const description = untiedOf(model.description);
    expect(made.untiedBytes > 0).toBe(model.description.head.tied);
    const query = model.description.layers[0]?.mixers[0]?.output.source.tensor ?? "";
    expect(relativeError(floatsOf(tensors, query), floatsOf(model.tensors, query))).toBeGreaterThan(1);
    const found = logitsOf({ ...model, description }, tensors);
    expect(relativeError(found, floatsOf(model.reference, "logits"))).toBeLessThan(1e-5);
  });

  it("computes the same with the rotation inside of heads alone, and keeps its embedding tied", async () => {
    const model = openModel("qwen2");
    const { source, made } = openRotated(model, ["R2"]);
    expect(made.untiedBytes).toBe(0);
    const found = logitsOf(model, await readAll(source, made));
    expect(relativeError(found, floatsOf(model.reference, "logits"))).toBeLessThan(1e-5);
  });
});

/** x Wᵀ of a Linear without its bias. */
function apply({ rows, columns, source }: Linear, tensors: FixtureTensors, x: Float64Array): Float64Array {
  const weight = floatsOf(tensors, source.tensor);
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let k = 0; k < columns; k++)
      sum += (weight[(source.firstRow + row) * columns + k] ?? 0) * (x[k] ?? 0);
    return sum;
  });
}

describe.each(["mixtral", "qwen2-moe"])("the rotated experts of %s", (name) => {
  it("read and write rotated hidden states", async () => {
    const model = openModel(name);
    const { source, made } = openRotated(model, ["R1"]);
    const tensors = await readAll(source, made);
    const { hiddenSize } = model.description;
    const x = Float64Array.from(randomNormal(hiddenSize, seededRandom(8)));
    const norm = (by: Norm, of: FixtureTensors, at: Float64Array) =>
      referenceNorm(by, at, floatsOf(of, by.weight ?? ""), null);
    const turned = await rotateVector(model, x);
    for (const { norms, feedForward, mixers } of model.description.layers) {
      if (!norms.feedForwardInput || feedForward?.kind !== "experts")
        throw new Error("experts behind a norm");
      const downs = [...mixers.map(({ output }) => output), ...mlpsOf(feedForward).map(({ down }) => down)];
      for (const linear of feedForwardLinears(feedForward).filter((each) => !downs.includes(each))) {
        const expected = apply(linear, model.tensors, norm(norms.feedForwardInput, model.tensors, x));
        const found = apply(linear, tensors, norm(norms.feedForwardInput, tensors, turned));
        expect(Math.max(...expected.map((value, row) => Math.abs(value - (found[row] ?? 0))))).toBeLessThan(
          1e-5,
        );
      }
      for (const linear of downs) {
        const inner = Float64Array.from(randomNormal(linear.columns, seededRandom(9)));
        const expected = await rotateVector(model, apply(linear, model.tensors, inner));
        const found = apply(linear, tensors, inner);
        expect(Math.max(...expected.map((value, row) => Math.abs(value - (found[row] ?? 0))))).toBeLessThan(
          1e-5,
        );
      }
    }
  });
});

/** x R, by the model's embedding with x in its first row. */
async function rotateVector(model: Model, x: Float64Array): Promise<Float64Array> {
  const table = model.stored.find(({ name }) => name === model.description.embedding.tensor);
  if (!table) throw new Error("no embedding");
  const file = model.file.slice();
  file.set(new Uint8Array(Float32Array.from(x).buffer), table.start);
  const { source, made } = openRotated({ ...model, file }, ["R1"]);
  const { file: path = "", start = 0 } = made.tensors.find(({ name }) => name === table.name) ?? {};
  return Float64Array.from(
    new Float32Array((await source.read({ path, start, end: start + x.length * 4 })).buffer),
  );
}

describe("rotated tensors", () => {
  it("are read in any range, and a matrix whose columns are rotated once", async () => {
    const model = openModel("llama");
    const { source, made, reads } = openRotated(model, ["R1", "R2"]);
    for (const part of ["self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj"]) {
      const tensor = made.tensors.find(({ name }) => name === `model.layers.1.${part}.weight`);
      if (!tensor) throw new Error(`no ${part}`);
      const whole = await source.read({ path: tensor.file, start: 0, end: tensor.end });
      for (const start of [0, 4, 130, 2052]) {
        const some = await source.read({ path: tensor.file, start, end: start + 1501 });
        expect(some).toEqual(whole.slice(start, start + 1501));
      }
    }
    const output = model.stored.find(({ name }) => name === "model.layers.1.self_attn.o_proj.weight");
    expect(reads.filter(({ start }) => start === output?.start)).toHaveLength(1);
  });

  it("have norms of ones, or of zeros where one is added", () => {
    const model = openModel("llama");
    const { made } = openRotated(model, ["R1"]);
    const norm = made.rotated.get("rotated:model.norm.weight");
    expect(norm && "value" in norm && norm.value).toBe(1);
  });
});

describe("what no rotation passes", () => {
  it.each([
    ["starcoder2", /subtract the mean/],
    ["stablelm", /subtract the mean/],
    ["cohere", /subtract the mean/],
    ["gemma2", /norms whose weights stand between/],
    ["olmo2", /norms whose weights stand between/],
  ])("is refused: %s", (name, sentence) => {
    const model = openModel(name);
    expect(() => openRotated(model, ["R1"])).toThrow(sentence);
    expect(() => openRotated(model, ["R2"])).not.toThrow();
  });

  it("is refused where a matrix is not known", () => {
    const model = openModel("llama");
    const stranger: SourceTensor = {
      name: "mtp.fc.weight",
      dtype: "F32",
      shape: [64, 64],
      start: 0,
      end: 16_384,
      file: "f",
    };
    expect(() => openRotated({ ...model, stored: [...model.stored, stranger] }, ["R1"])).toThrow(
      /mtp\.fc\.weight/,
    );
  });
});
