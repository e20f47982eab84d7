import { expect, it } from "vitest";
import { UploadRing } from "../../../gpu/staging/upload-ring.ts";
import { linear, rmsNorm } from "../../../model/parts/decoder-parts.ts";
import type { TokenInputs } from "../../../model/decoder-description.ts";
import { relativeError } from "../../../testing/fixtures/architecture-fixture.ts";
import { openTestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { openTokenTables, tokenTablesBytes } from "./token-inputs.ts";

const [IDS, SIZE, HIDDEN, LAYERS] = [700, 8, 12, 2];
const inputs: TokenInputs = {
  size: SIZE,
  projection: linear("projection", LAYERS * SIZE, HIDDEN),
  scale: HIDDEN ** -0.5,
  norm: rmsNorm("norm", SIZE, 1e-6),
  table: { tensor: "table", multiplier: 3 },
  factor: 0.7,
};

it("a table has what each layer is given for each id, in the memory that was planned", async () => {
  using test = await openTestGpu();
  const random = seededRandom(8);
  const states = randomNormal(IDS * HIDDEN, random);
  const rows = Array.from({ length: LAYERS }, () => randomNormal(IDS * SIZE, random));
  const projections = Array.from({ length: LAYERS }, () => randomNormal(SIZE * HIDDEN, random));
  const weight = randomNormal(SIZE, random);
  const part = (all: Float32Array<ArrayBuffer> | undefined, width: number, first: number, end: number) =>
    Promise.resolve((all ?? new Float32Array()).slice(first * width, end * width));
  using uploads = await UploadRing.create(test.gpu, { pieceBytes: 65_536, pieces: 1 });
  const before = test.gpu.memory.bytes;
  using tables = await openTokenTables(test.gpu, uploads, inputs, HIDDEN, {
    ids: IDS,
    states: async (first, end) => await part(states, HIDDEN, first, end),
    rows: async (layer, first, end) => await part(rows[layer], SIZE, first, end),
    projection: async (layer) => await part(projections[layer], HIDDEN, 0, SIZE),
    norm: async () => await part(weight, SIZE, 0, 1),
  });
  const sizes = { size: SIZE, hiddenSize: HIDDEN, ids: IDS };
  expect(test.gpu.memory.bytes - before).toBe(tokenTablesBytes(sizes, 2 ** 27));
  for (const layer of [1, 0]) {
    const found = await test.readFloats(await tables.of(layer), IDS * SIZE);
    const expected = Array.from({ length: IDS }, (_, id) => {
      const projected = Array.from({ length: SIZE }, (__, at) =>
        Array.from({ length: HIDDEN }).reduce<number>(
          (sum, ___, k) =>
            sum +
            (states[id * HIDDEN + k] ?? 0) * (projections[layer]?.[at * HIDDEN + k] ?? 0) * inputs.scale,
          0,
        ),
      );
      const root = Math.sqrt(projected.reduce((sum, value) => sum + value * value, 0) / SIZE + 1e-6);
      return projected.map(
        (value, at) =>
          inputs.factor * ((value / root) * (weight[at] ?? 0) + 3 * (rows[layer]?.[id * SIZE + at] ?? 0)),
      );
    }).flat();
    expect(relativeError(found, expected)).toBeLessThan(1e-5);
  }
});
