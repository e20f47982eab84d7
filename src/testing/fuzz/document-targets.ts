// What is fuzzed beside models and their files: model cards, and what parts of a model say of themselves.

import * as fc from "fast-check";
import { joinParts } from "../../package/join-parts.ts";
import { licenseOf } from "../../package/model-card.ts";
import { parsePartDocument } from "../../package/part-document.ts";
import { carriedLicense } from "../../package/published-card.ts";
import { altered, damaged, numbers } from "./arbitraries.ts";
import { type FuzzTarget, target } from "./fuzz-target.ts";

const cards = fc
  .array(
    fc.constantFrom(
      "license: ", "license_name: ", "language:\n", "- en\n", "mit\n", "&a [", "*a, *a", "]\n", "{a: ", "}\n", "<<: *a\n", "? ", "!!binary ",
      "|\n  x\n", "\n", '"\\x', '"\n', "'", "[".repeat(60), "a: &b [*b]\n", "tags: [x, y]\n", "# ", "%YAML 1.3\n", "...\n", "---\n", "\u0000",
    ), // prettier-ignore
    { maxLength: 40 },
  )
  .map((pieces) => `---\n${pieces.join("")}\n---\n# A model`);

const tensors = [{ name: "a", dtype: "BF16", shape: [2, 2] }];
const PART: Readonly<Record<string, unknown>> = {
  layout: 1,
  made_by: "Layerpress",
  version: "abc",
  job: "j",
  source: { key: "k", label: "l", name: "n", repository: null, revision: null },
  recipe: "",
  calibration: null,
  forwardProducts: null,
  layers: 0,
  steps: 1,
  part: { kind: "rest" },
  written: [{ place: 0, tensors }],
  shards: [{ path: "part.safetensors", bytes: 100 }],
  carried: [{ path: "tokenizer.json", bytes: 2 }],
  result: {
    name: "n", schemes: [], sourceBytes: 1, bitsPerWeight: 4, quantizedModules: 0, isPlain: false, ignored: [], serverNotes: [], card: null,
  }, // prettier-ignore
  measured: {
    modules: [], mappings: [], peakGpuBytes: 0, gpuBudgetBytes: 0, longestSubmits: [], gpuBusySeconds: 0, seconds: {},
  }, // prettier-ignore
};

const places = fc.record({ place: fc.nat({ max: 2 ** 32 }), tensors: fc.constant(tensors) });
const documents = damaged(
  fc
    .tuple(altered(PART), fc.array(places, { maxLength: 3 }), fc.option(numbers))
    .map(([part, written, steps]) =>
      JSON.stringify({
        ...part,
        ...(written.length > 0 ? { written } : {}),
        ...(steps === null ? {} : { steps }),
      }),
    ),
);

export const DOCUMENT_TARGETS: readonly FuzzTarget[] = [
  target("model card", cards, (card) => [licenseOf(card), carriedLicense(card)]),
  target("part of a model", fc.array(documents, { minLength: 1, maxLength: 3 }), (texts) =>
    joinParts(texts.map((text, at) => ({ folder: `part-${at}`, document: parsePartDocument("p", text) }))),
  ),
];
