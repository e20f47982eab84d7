import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { captures, layerLinears } from "../../../model/layer-linears.ts";
import { headLayer } from "../../../model/head-layer.ts";
import { loadArchitecture, relativeError } from "../../../testing/fixtures/architecture-fixture.ts";
import { openDecoder } from "../../../testing/fixtures/open-decoder.ts";
import { openTestGpu, type TestGpu } from "../../../testing/test-gpu/open-test-gpu.ts";
import { widenToFloat32 } from "../../../formats/numbers/dtype.ts";
import { floatDtype } from "../../../testing/fixtures/architecture-fixture.ts";
import { forwardLayer } from "../forward-layer.ts";
import { referenceNorm } from "../norm/reference.ts";

/** Float32 sums of one row against float64. */
const TOLERANCE = 1e-6;

let test: TestGpu;
beforeAll(async () => {
  test = await openTestGpu();
});
afterAll(() => test[Symbol.dispose]());

/** Rows of the hidden values, without what some models carry behind them. */
function hiddenOf(states: Float32Array, stride: number, columns: number): Float64Array {
  const tokens = states.length / stride;
  return Float64Array.from(
    { length: tokens * columns },
    (_, index) => states[Math.floor(index / columns) * stride + (index % columns)] ?? 0,
  );
}

describe("a head behind all layers", () => {
  it.each(["mixtral", "gpt-neox", "gemma4"])(
    "sees the final norm of the hidden states (%s)",
    async (name) => {
      const fixture = await loadArchitecture(name);
      using decoder = await openDecoder(test, fixture);
      const { description, pass, hidden, states } = decoder;
      const layer = headLayer(description, "head");
      const { module, columns } = description.head.linear;
      expect(captures(layer)).toEqual([{ modules: [module], columns }]);
      expect(layerLinears(layer)).toEqual([]);
      const seen: Float32Array[] = [];
      const hooks = {
        async onInput(modules: readonly string[], input: { readonly rows: number }) {
          expect(modules).toEqual([module]);
          const values = await test.readFloats(pass.workspace.normed);
          seen.push(values.slice(0, input.rows * columns));
        },
      };
      await forwardLayer({ ...pass, hooks, stopAtLastInput: true }, layer, hidden);
      await test.gpu.queue.flush();
      const vector = (tensor: string | null) => {
        const found = tensor === null ? undefined : fixture.tensors.get(tensor);
        return found ? widenToFloat32(floatDtype(found.dtype), found.bytes) : null;
      };
      const { finalNorm } = description;
      const x = hiddenOf(states, columns + layer.carriedSize, columns);
      const expected = referenceNorm(finalNorm, x, vector(finalNorm.weight), vector(finalNorm.bias));
      expect(seen).toHaveLength(1);
      expect(relativeError(seen[0] ?? new Float32Array(), expected)).toBeLessThan(TOLERANCE);
      expect(await test.readFloats(hidden)).toEqual(states);
    },
  );
});
