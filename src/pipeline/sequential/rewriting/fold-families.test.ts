// Factors along every mapping that is read off a description leave what a layer computes as it was, whatever the family.

import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { describeDecoder } from "../../../model/describe-decoder.ts";
import { type LayerDescription, rowSize } from "../../../model/decoder-description.ts";
import { layerMappings } from "../../../model/mappings.ts";
import { foldLayer } from "../../../onload/fold-layer.ts";
import { foldsOf } from "../../../quantize/rewriter.ts";
import type { FixtureTensors } from "../../../testing/fixtures/architecture-fixture.ts";
import { FIXTURES, floatFixture, hostOf } from "../../../testing/fixtures/float-fixture.ts";
import { layersOfEachKind } from "../../../testing/fixtures/layers-of-each-kind.ts";
import { randomNormal, seededRandom } from "../../../testing/random.ts";
import { referenceLayer } from "../../../testing/fixtures/reference-layer.ts";

const LENGTHS = [5, 4];

/** The tensors with random factors folded along all of a layer's mappings. */
async function folded(layer: LayerDescription, tensors: FixtureTensors): Promise<FixtureTensors> {
  const random = seededRandom(11);
  const { copies, host } = hostOf(tensors);
  const layerAtWork = foldLayer(host);
  const folds = layerMappings(layer).flatMap((mapping) => {
    const scales = Float32Array.from({ length: mapping.columns }, () => 4 ** (2 * random() - 1));
    return foldsOf(mapping, scales);
  });
  await layerAtWork.add(folds, true);
  return copies;
}

it.each(readdirSync(FIXTURES))(
  "a layer of %s computes the same, with factors along all of its mappings",
  async (name) => {
    const { config, tensors } = floatFixture(name);
    const description = describeDecoder(config, tensors.keys());
    for (const layer of layersOfEachKind(description.layers)) {
      const tokens = LENGTHS.reduce((sum, length) => sum + length, 0);
      const hidden = randomNormal(tokens * rowSize(description), seededRandom(5));
      const before = referenceLayer(layer, tensors, hidden, LENGTHS).output;
      const after = referenceLayer(layer, await folded(layer, tensors), hidden, LENGTHS).output;
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
