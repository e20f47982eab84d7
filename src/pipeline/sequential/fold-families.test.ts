// Factors along every mapping that is read off a description leave what a layer computes as it was, whatever the family.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { widenToFloat32 } from "../../formats/dtype.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { type LayerDescription, rowSize } from "../../model/decoder-description.ts";
import { layerMappings } from "../../model/mappings.ts";
import { foldLayer } from "../../onload/fold-layer.ts";
import { foldsOf } from "../../quantize/rewriter.ts";
import { type FixtureTensors, floatDtype } from "../../testing/architecture-fixture.ts";
import { openMemoryFile, tensorOf } from "../../testing/golden.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { referenceLayer } from "../../testing/reference-layer.ts";

const FIXTURES = "e2e/fixtures/architectures";
const LENGTHS = [5, 4];

/** A fixture's tensors in float32, so that nothing is rounded but the factors' own products. */
function load(name: string): { config: Record<string, unknown>; tensors: FixtureTensors } {
  const config: Record<string, unknown> = JSON.parse(
    readFileSync(join(FIXTURES, name, "config.json"), "utf8"),
  );
  const file = openMemoryFile(new Uint8Array(readFileSync(join(FIXTURES, name, "model.safetensors"))));
  const tensors = file.entries.map((entry) => {
    const values = widenToFloat32(floatDtype(entry.dtype), tensorOf(file, entry.name));
    return [entry.name, { ...entry, dtype: "F32" as const, bytes: new Uint8Array(values.buffer) }] as const;
  });
  return { config, tensors: new Map(tensors) };
}

/** The tensors with random factors folded along all of a layer's mappings. */
function folded(layer: LayerDescription, tensors: FixtureTensors): FixtureTensors {
  const random = seededRandom(11);
  const copies = new Map(
    Array.from(tensors, ([name, tensor]) => [name, { ...tensor, bytes: tensor.bytes.slice() }]),
  );
  const host = Array.from(copies, ([name, { shape, bytes }]) => {
    const columns = shape.length > 1 ? (shape.at(-1) ?? 1) : 1;
    return [name, { dtype: "F32" as const, columns, bytes }] as const;
  });
  const layerAtWork = foldLayer({ tensors: new Map(host) });
  for (const mapping of layerMappings(layer)) {
    const scales = Float32Array.from({ length: mapping.columns }, () => 4 ** (2 * random() - 1));
    layerAtWork.add(foldsOf(mapping, scales));
  }
  return copies;
}

it.each(readdirSync(FIXTURES))(
  "a layer of %s computes the same, with factors along all of its mappings",
  (name) => {
    const { config, tensors } = load(name);
    const description = describeDecoder(config, tensors.keys());
    const { layers } = description;
    const kinds = new Map(layers.map((layer) => [JSON.stringify(layerMappings(layer).length), layer]));
    for (const layer of kinds.values()) {
      const tokens = LENGTHS.reduce((sum, length) => sum + length, 0);
      const hidden = randomNormal(tokens * rowSize(description), seededRandom(5));
      const before = referenceLayer(layer, tensors, hidden, LENGTHS).output;
      const after = referenceLayer(layer, folded(layer, tensors), hidden, LENGTHS).output;
      const most = before.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
      const error = after.reduce(
        (largest, value, at) => Math.max(largest, Math.abs(value - (before[at] ?? 0))),
        0,
      );
      // Factors and weights are rounded to float32.
      expect(error / most).toBeLessThan(1e-5);
    }
  },
);
