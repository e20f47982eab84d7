// What is fuzzed: every parser of files from outside, and opening and planning a model as a whole.

import * as fc from "fast-check";
import type { JobOptions } from "../../api/job-options.ts";
import type { SourceApi } from "../../api/source-api.ts";
import { parseSamples } from "../../calibrate/samples/parse-samples.ts";
import { selectSequences } from "../../calibrate/select-sequences.ts";
import { parseHeader, parseHeaderLength } from "../../formats/safetensors/safetensors.ts";
import { INDEX_FILE, parseIndex } from "../../formats/safetensors/safetensors-index.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import { openModel } from "../../pipeline/inspect/open-model.ts";
import type { RemoteSource } from "../../pipeline/inspect/remote-source.ts";
import { planJob } from "../../pipeline/planning/plan-job.ts";
import { parseRecipe } from "../../plan/recipe/parse-recipe.ts";
import { readConfig } from "../../plan/checkpoint/read-config.ts";
import { readQuantization } from "../../plan/checkpoint/read-quantization.ts";
import { matchesFromStart } from "../../plan/targets/target-pattern.ts";
import {
  calibrationTexts,
  configs,
  damaged,
  describedModels,
  headers,
  type MadeHeader,
  models,
  patterns,
  recipes,
  values,
} from "./arbitraries.ts";
import { DOCUMENT_TARGETS } from "./document-targets.ts";
import { FILE_TARGETS } from "./file-targets.ts";
import { type FuzzTarget, target } from "./fuzz-target.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

const options: Omit<JobOptions, "recipe"> = { calibration: null, gpuBudgetBytes: 2 ** 30, keepSource: false };
const selection = {
  num_calibration_samples: 8,
  max_seq_length: 64,
  shuffle_calibration_samples: true,
  seed: 1,
};

/** A file whose header is what was made, and whose data is not there. */
function shard(json: string, dataBytes: number): { bytes: Uint8Array<ArrayBuffer>; size: number } {
  const header = bytesOf(json);
  const bytes = new Uint8Array(8 + header.byteLength);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.byteLength), true);
  bytes.set(header, 8);
  return { bytes, size: bytes.byteLength + dataBytes };
}

type Files = ReadonlyMap<string, { readonly bytes: Uint8Array<ArrayBuffer>; readonly size: number }>;

/** A source that has the beginnings of files; what lies behind reads as zeros. */
function memorySource(files: Files): RemoteSource {
  const found = (path: string) => files.get(path)?.bytes ?? new Uint8Array();
  const source: Partial<SourceApi> = {
    open: () =>
      Promise.resolve({
        label: "fuzz",
        name: "fuzz",
        repository: null,
        key: "fuzz",
        revision: null,
        host: null,
        files: Array.from(files, ([path, { size }]) => ({ path, bytes: size })),
      }),
    readFile: (path) => Promise.resolve(found(path)),
    readRange: ({ path, start, end }) => {
      const bytes = new Uint8Array(Math.min(end - start, 2 ** 20));
      bytes.set(found(path).subarray(start, start + bytes.byteLength));
      return Promise.resolve(bytes);
    },
  };
  return source as unknown as RemoteSource;
}

interface Opened {
  readonly model: { readonly config: unknown; readonly header: MadeHeader };
  readonly recipe: string;
  readonly index: unknown;
}

async function openAndPlan({ model: { config, header }, recipe, index }: Opened): Promise<void> {
  const files = new Map([["model.safetensors", shard(JSON.stringify(header.json), header.dataBytes)]]);
  const add = (path: string, value: unknown) => {
    const bytes = bytesOf(JSON.stringify(value));
    files.set(path, { bytes, size: bytes.byteLength });
  };
  add("config.json", config);
  if (index !== null) add(INDEX_FILE, index);
  const model = await openModel(memorySource(files), { kind: "address", address: "https://fuzz/" }, null);
  await planJob(model, { ...options, recipe: { kind: "yaml", text: recipe } });
}

const jsonOf = (arbitrary: fc.Arbitrary<unknown>) =>
  damaged(arbitrary.map((value) => JSON.stringify(value) ?? ""));

export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  target("pattern", fc.tuple(patterns, fc.string({ maxLength: 256 })), ([pattern, name]) => {
    matchesFromStart(pattern, name);
    matchesFromStart(pattern, "a".repeat(256));
  }),
  target("recipe", fc.oneof(recipes, damaged(fc.string({ maxLength: 2000 }))), parseRecipe),
  target("config", jsonOf(configs), (text) => {
    const { raw } = readConfig(bytesOf(text));
    readQuantization(raw)?.schemeOf("model.layers.0.mlp.up_proj");
  }),
  target("decoder", describedModels, ({ config, names }) => describeDecoder(config, names)),
  target("header", fc.tuple(jsonOf(headers.map(({ json }) => json)), fc.nat(10_000)), ([text, size]) => {
    const { bytes } = shard(text, size);
    parseHeaderLength("a", bytes, bytes.byteLength + size);
    parseHeader("a", bytes.subarray(8), bytes.byteLength + size);
  }),
  target("index", jsonOf(fc.record({ weight_map: fc.dictionary(fc.string(), values) })), (text) =>
    parseIndex(bytesOf(text)),
  ),
  target("calibration text", calibrationTexts, async (text) => {
    const { samples } = await parseSamples("a.json", bytesOf(text));
    return await selectSequences(samples, null, 2 ** 40, selection);
  }),
  target(
    "opening and planning",
    fc.record({
      model: models,
      recipe: recipes,
      index: fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: values }),
    }),
    openAndPlan,
  ),
  ...FILE_TARGETS,
  ...DOCUMENT_TARGETS,
];
