// A fixture's checkpoint as evaluation reads models.

import { embedTokens } from "../calibrate/forward/embed-tokens.ts";
import { isDtype } from "../formats/numbers/dtype.ts";
import type { QuantizationScheme } from "../formats/schemes/quantization-args.ts";
import type { StoredModel } from "../evaluate/weights/stored-model.ts";
import { originalNames } from "../evaluate/weights/stored-model.ts";
import { describeDecoder } from "../model/describe-decoder.ts";
import { type FixtureTensors, floatDtype } from "./architecture-fixture.ts";

export function storedFixture(
  config: Record<string, unknown>,
  tensors: FixtureTensors,
  schemeOf: (module: string) => QuantizationScheme | null = () => null,
): StoredModel {
  const description = describeDecoder(config, originalNames(tensors.keys()));
  const { embedding, vocabSize: rows, hiddenSize: columns } = description;
  const find = (name: string) => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`The fixture has no tensor ${name}`);
    return tensor;
  };
  return {
    description,
    schemeOf,
    tensor(name) {
      const tensor = tensors.get(name);
      return tensor && isDtype(tensor.dtype) ? { name, dtype: tensor.dtype, shape: tensor.shape } : null;
    },
    read: (name, span) => {
      const { bytes } = find(name);
      return Promise.resolve(span ? bytes.slice(span.start, span.end) : bytes.slice());
    },
    async tokenRows(ids, layer) {
      const { tokenInputs } = description;
      if (!tokenInputs) throw new Error("The fixture has no token inputs");
      const { table, projection, size } = tokenInputs;
      const { bytes, dtype } = find(table.tensor);
      const read = (start: number, end: number) => Promise.resolve(bytes.subarray(start, end));
      const rowsOf = {
        dtype: floatDtype(dtype),
        rows,
        columns: projection.rows,
        multiplier: table.multiplier,
        read,
      };
      const all = await embedTokens(rowsOf, ids);
      return layer === null
        ? all
        : all.filter((_, index) => Math.floor((index % projection.rows) / size) === layer);
    },
    async embed(sequences) {
      const { bytes, dtype } = find(embedding.tensor);
      const read = (start: number, end: number) => Promise.resolve(bytes.subarray(start, end));
      const table = { dtype: floatDtype(dtype), rows, columns, multiplier: embedding.multiplier, read };
      return await Promise.all(sequences.map(async (ids) => await embedTokens(table, ids)));
    },
  };
}
