// Every option against every algorithm: each changes what the job is asked to do, or is refused with a sentence.

import { describe, expect, it, vi } from "vitest";
import type { CalibrationRequest, CompressRequest, RecipeRequest } from "../../api/script-api.ts";
import type { JobOptions } from "../../api/job-options.ts";
import { FIT, fakeServices, RESULT } from "../testing/fake-services.ts";
import type { Compressor } from "../state/services.ts";
import { createApp, wakeApp } from "./create-app.ts";
import { createScriptDoor } from "./create-script-door.ts";

const yaml = (modifier: string) =>
  `default_stage: {default_modifiers: {${modifier}: {targets: [Linear], scheme: W4A16}}}`;
const RECIPES = {
  "round to nearest": "W4A16",
  "round to nearest, a channel": "W8A8",
  "round to nearest, fixed groups": "MXFP4",
  "measured inputs": "FP8",
  GPTQ: "gptq-W4A16",
  SmoothQuant: "smoothquant-W8A8",
  AWQ: "awq-W4A16_ASYM",
  "AWQ and GPTQ": "awq-gptq-W4A16",
  "GPTQ, a channel": "gptq-W8A8",
  "what is best": "best-W4A16",
  dequantizing: "UNQUANTIZED",
  "YAML that rounds": yaml("QuantizationModifier"),
  "YAML with GPTQ": yaml("GPTQModifier"),
} as const;

type Changes = {
  readonly recipe?: Partial<RecipeRequest>;
  readonly calibration?: Partial<CalibrationRequest>;
} & Partial<Pick<CompressRequest, "gpuBudgetBytes" | "keepSource" | "part">>;
const OPTIONS: Readonly<Record<string, Changes>> = {
  "--group-size": { recipe: { groupSize: 64 } },
  "--ignore": { recipe: { ignore: ["re:.*down_proj"] } },
  "--observer": { recipe: { observer: "memoryless_mse" } },
  "--dampening-frac": { recipe: { dampeningFrac: 0.05 } },
  "--actorder": { recipe: { actorder: "group" } },
  "--actorder none": { recipe: { actorder: "none" } },
  "--gpu-budget": { gpuBudgetBytes: 2 ** 28 },
  "--keep-source": { keepSource: true },
  "--layers": { part: { kind: "layers", first: 1, last: 2 } },
  "--calibration": { calibration: { file: { name: "a.txt", text: "other", column: null } } },
  "--dataset": { calibration: { file: null, dataset: { name: "a/b", split: "test", column: "text" } } },
  "--samples": { calibration: { samples: 7 } },
  "--max-seq-length": { calibration: { maxSeqLength: 77 } },
  "--seed": { calibration: { seed: 7 } },
  "--no-shuffle": { calibration: { shuffle: false } },
  "--no-shuffle --seed": { calibration: { shuffle: false, seed: 7 } },
  "--no-propagate-error": { calibration: { propagateError: false } },
  "--routed-experts-only": { calibration: { allExperts: false } },
  "--routed-experts-only --min-expert-tokens": { calibration: { allExperts: false, minExpertTokens: 7 } },
  "--min-expert-tokens": { calibration: { minExpertTokens: 7 } },
  "--hidden-states": { calibration: { hiddenStates: "BF16" } },
  "--forward-products": { calibration: { forwardProducts: "F32" } },
};

const calibrates = (text: string) => /gptq|smoothquant|awq|best|^FP8$/i.test(text);

function requestFor(text: string, { recipe, calibration, ...rest }: Changes): CompressRequest {
  const file = calibrates(text) ? { name: "a.txt", text: "", column: null } : null;
  return {
    source: "org/name",
    token: null,
    recipe: {
      text,
      groupSize: null,
      ignore: null,
      observer: null,
      dampeningFrac: null,
      actorder: null,
      ...recipe,
    },
    calibration: {
      file,
      dataset: null,
      samples: null,
      maxSeqLength: null,
      seed: null,
      shuffle: true,
      propagateError: true,
      allExperts: true,
      minExpertTokens: null,
      hiddenStates: "F32",
      forwardProducts: "AUTO",
      ...calibration,
    },
    gpuBudgetBytes: null,
    keepSource: false,
    ...rest,
  };
}

const SUMMARY = {
  samples: 1,
  tokens: 1,
  passes: 1,
  weightsResident: true,
  hiddenStates: "gpu",
  hiddenBytes: 1,
  flops: 1,
  gpu: { flopsPerSecond: 1, measured: false },
};

/** What the job is asked to do, or the sentence that refuses it. */
async function outcome(text: string, changes: Changes): Promise<string> {
  const start = vi.fn<Compressor["start"]>(async () => [RESULT]);
  const fit = { ...FIT, calibration: calibrates(text) ? SUMMARY : null };
  const services = fakeServices({ compressor: { start, plan: async () => fit } });
  const app = createApp(services, "https://pages.example.org/");
  await wakeApp(app);
  try {
    await createScriptDoor(app, new Promise<never>(() => undefined)).compress(requestFor(text, changes));
  } catch (error) {
    return error instanceof Error && error.name === "RecipeError" ? "refused" : String(error);
  }
  const asked: JobOptions | undefined = start.mock.calls[0]?.[0];
  return JSON.stringify(asked, (_, value: unknown) =>
    value instanceof File ? `${value.name} of ${value.size} bytes` : value,
  );
}

/** Refusals by recipe; what is not named acts. */
const REFUSED: Readonly<Record<keyof typeof RECIPES, RegExp>> = {
  "round to nearest":
    /dampening|actorder|calibration|dataset|samples|max-seq|seed|shuffle|propagate|expert|hidden|forward/,
  "round to nearest, a channel":
    /group-size|dampening|actorder|calibration|dataset|samples|max-seq|seed|shuffle|propagate|expert|hidden|forward/,
  "round to nearest, fixed groups":
    /group-size|dampening|actorder|calibration|dataset|samples|max-seq|seed|shuffle|propagate|expert|hidden|forward/,
  "measured inputs": /group-size|dampening|actorder|propagate|shuffle --seed|^--min-expert/,
  GPTQ: /shuffle --seed|^--min-expert/,
  SmoothQuant: /group-size|dampening|actorder|propagate|shuffle --seed|^--min-expert/,
  AWQ: /dampening|actorder|propagate|shuffle --seed|^--min-expert/,
  "AWQ and GPTQ": /shuffle --seed|^--min-expert/,
  "GPTQ, a channel": /group-size|actorder$|shuffle --seed|^--min-expert/,
  "what is best": /observer|dampening|actorder|shuffle --seed|^--min-expert/,
  dequantizing: /^--(?!gpu-budget|keep-source|layers)/,
  "YAML that rounds": /^--(?!gpu-budget|keep-source|layers)/,
  "YAML with GPTQ": /group-size|ignore|observer|dampening|actorder|shuffle --seed|^--min-expert/,
};

describe.each(Object.entries(RECIPES))("with %s", (name, text) => {
  it("every option acts or is refused", async () => {
    const plain = await outcome(text, {});
    expect(plain).toMatch(/^\{/);
    const refusals = REFUSED[name as keyof typeof RECIPES];
    for (const [option, changes] of Object.entries(OPTIONS)) {
      const changed = await outcome(text, changes);
      const became = changed === plain ? "ignored" : changed.startsWith("{") ? "acts" : changed;
      expect(`${option}: ${became}`).toBe(`${option}: ${refusals.test(option) ? "refused" : "acts"}`);
    }
  });
});
