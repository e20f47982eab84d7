// A layer's bytes, asked for while the layer before it is computed: all at once, so that none of them waits for the source to answer
// another.

import { type StoredModel, tensorBytes } from "../../../evaluate/weights/stored-model.ts";
import { quantizedScheme, storedWeight } from "../../../evaluate/weights/dequantize.ts";
import { inputQuantization } from "../../../evaluate/weights/weight-values.ts";
import { codesTensor } from "../../../formats/weights/dequantize.ts";
import { describedTensors } from "../../../model/check-tensors.ts";
import { layerLinears } from "../../../model/layer-linears.ts";
import type { Linear } from "../../../model/weight-description.ts";
import { waitLater } from "../../../wait-later.ts";

/** Layers of more bytes are read tensor by tensor when they are at work: two layers are in memory at once. */
const MAX_LAYER_BYTES = 256 * 1024 ** 2;

export interface ReadAhead {
  /** The model, which has at hand what was read ahead of it. */
  readonly model: StoredModel;
  /**
   * Announces a layer, or what comes behind the last one, and begins to read it. What is left is that of the layer that was begun before.
   */
  begin(layer: number): void;
}

type Coming = ReadonlyMap<string, Promise<Uint8Array<ArrayBuffer>>>;

/** @param maxLayerBytes 0 for a model that is only announced, because its layers are read more than once */
export function readAhead(model: StoredModel, maxLayerBytes = MAX_LAYER_BYTES): ReadAhead {
  let [last, next]: [Coming, Coming] = [new Map(), new Map()];
  return {
    model: {
      ...model,
      async read(name, span) {
        const whole = await (next.get(name) ?? last.get(name));
        if (!whole) return await model.read(name, span);
        return span ? whole.subarray(span.start, span.end) : whole;
      },
    },
    begin(layer) {
      model.announce?.(layer);
      const names = tensorsRead(model, layer);
      const bytes = names.reduce((sum, name) => sum + tensorBytes(model.tensor(name)), 0);
      const read = (name: string) => [name, waitLater(model.read(name))] as const;
      last = next;
      next = new Map(bytes <= maxLayerBytes ? names.map(read) : []);
    },
  };
}

/** Names of the tensors that the forward pass reads for a layer. */
function tensorsRead(model: StoredModel, index: number): string[] {
  const { description } = model;
  const layer = description.layers[index];
  if (!layer) return [];
  const linears = layerLinears(layer);
  const matrices = new Set(description.layers.flatMap(layerLinears).map(({ source }) => source.tensor));
  const vectors = [...describedTensors(description).keys()].filter(
    (name) => name.startsWith(`${layer.name}.`) && !matrices.has(name),
  );
  const names = new Set([...linears.flatMap((linear) => partsOf(model, linear)), ...vectors]);
  return [...names].filter((name) => model.tensor(name) !== null);
}

/** Tensors of a Linear, those that it may lack among them. */
function partsOf(model: StoredModel, linear: Linear): string[] {
  const scheme = quantizedScheme(model, linear);
  if (!scheme) return [linear.source.tensor];
  const input = inputQuantization(model, linear)?.scale ?? null;
  const codes = codesTensor(storedWeight(model, linear, scheme));
  const zeroPoints = scheme.weights.symmetric ? [] : ["weight_zero_point"];
  const parts = [codes, "weight_scale", ...zeroPoints, "weight_global_scale", "weight_g_idx"];
  return [...parts.map((part) => `${linear.module}.${part}`), ...(input === null ? [] : [input])];
}
