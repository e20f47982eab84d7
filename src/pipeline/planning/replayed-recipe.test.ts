// The recipe that a result carries, given once more, here and to a tool that quantizes whatever targets mean.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { TensorSpec } from "../../formats/safetensors/safetensors.ts";
import { linearClasses } from "../../model/linear-classes.ts";
import { keepsFused } from "../../plan/notes/expert-notes.ts";
import { parseRecipe } from "../../plan/recipe/parse-recipe.ts";
import { readConfig } from "../../plan/checkpoint/read-config.ts";
import { splitExperts } from "../../plan/checkpoint/split-experts.ts";
import { loadCheckpoint } from "../../testing/fixtures/load-checkpoint.ts";
import type { OpenModel } from "../inspect/open-model.ts";
import { type JobPlan, planJob } from "./plan-job.ts";

const SHAPES = "e2e/fixtures/families";

interface Headers {
  readonly config: Record<string, unknown>;
  readonly tensors: readonly TensorSpec[];
}

function headersOf(name: string): Headers {
  if (!name.endsWith(".json")) return loadCheckpoint(name);
  const { config, tensors } = JSON.parse(readFileSync(join(SHAPES, name), "utf8")) as {
    config: Record<string, unknown>;
    tensors: Record<string, number[]>;
  };
  return {
    config,
    tensors: Object.entries(tensors).map(([tensor, shape]) => ({ name: tensor, dtype: "BF16", shape })),
  };
}

function inspected({ config, tensors }: Headers): OpenModel {
  const stored = tensors.map((tensor) => ({ start: 0, end: 0, file: "model.safetensors", ...tensor }));
  const fused = keepsFused(linearClasses(config));
  return {
    config: readConfig(new TextEncoder().encode(JSON.stringify(config))),
    tensors: fused ? stored : splitExperts(stored).tensors,
    unsplit: stored,
    source: { key: "headers" },
    dequantized: new Map(),
    rotation: { rotated: new Map() },
    summary: {},
  } as unknown as OpenModel;
}

const W8A8 = "QuantizationModifier: {scheme: W8A8, targets: [Linear], ignore: [lm_head]}";

async function planned(model: OpenModel, text: string): Promise<JobPlan> {
  return await planJob(model, {
    recipe: { kind: "yaml", text },
    gpuBudgetBytes: 2 ** 28,
    keepSource: false,
    calibration: null,
  });
}

const plan = async (model: OpenModel, modifiers: string) =>
  await planned(model, `q_stage: {q_modifiers: {${modifiers}}}`);

function ignoreOf({ recipeYaml }: JobPlan): readonly string[] {
  return parseRecipe(recipeYaml).modifiers.flatMap(({ ignore }) => ignore);
}

const ROUTER = String.raw`re:.*\.mlp\.gate$`;
const SHARED = String.raw`re:.*\.mlp\.shared_expert_gate$`;
const EXPERTS = String.raw`re:.*\.experts\.\d+\..*`;

describe("the recipe that a result carries", () => {
  it.each([
    ["mixtral", [ROUTER]],
    ["qwen2-moe", [ROUTER, SHARED]],
    ["qwen3-next", [ROUTER, SHARED]],
    ["qwen3-5-moe-text.json", [ROUTER, SHARED]],
    ["afmoe", [String.raw`re:.*\.mlp\.router\.gate$`]],
    ["phimoe", [String.raw`re:.*\.mlp\.router$`]],
    ["gemma4-moe", [String.raw`re:.*\.router\.proj$`]],
    ["hunyuan-v1-moe.json", [String.raw`re:.*\.mlp\.gate\.wg$`]],
    ["llama4-text.json", [String.raw`re:.*\.feed_forward\.router$`]],
    ["gpt-oss", [EXPERTS, String.raw`re:.*\.mlp\.router$`]],
    ["granitemoe.json", [String.raw`re:.*\.block_sparse_moe\.router$`, EXPERTS]],
    ["granitemoehybrid.json", [String.raw`re:.*\.block_sparse_moe\.router$`, EXPERTS]],
  ])("ignores in %s what defaults leave as it is, and the plan says so", async (name, ignored) => {
    const found = await plan(inspected(headersOf(name)), W8A8);
    expect(ignoreOf(found)).toEqual(["lm_head", ...ignored.toSorted()]);
    for (const entry of ignored) expect(found.defaultsNote).toContain(entry);
  });

  it.each([...readdirSync("e2e/fixtures/architectures"), ...readdirSync(SHAPES)])(
    "makes the same of %s, and adds nothing to itself",
    async (name) => {
      const model = inspected(headersOf(name));
      const {
        jobId: _,
        recipe: __,
        groups: ___,
        defaultsNote: ____,
        steps,
        ...first
      } = await plan(model, W8A8);
      const again = await planned(model, first.recipeYaml);
      expect(again).toMatchObject(first);
      expect(again.defaultsNote).toBeNull();
      expect(again.steps.map(({ quantize }) => quantize.map(({ module }) => module))).toEqual(
        steps.map(({ quantize }) => quantize.map(({ module }) => module)),
      );
    },
  );

  const module = (name: string, shape = [64, 64]) => ({
    name: `${name}.weight`,
    dtype: "BF16" as const,
    shape,
  });
  const llava = (text: readonly string[]) =>
    inspected({
      config: { model_type: "llava", text_config: { model_type: "qwen2_moe" }, vision_config: {} },
      tensors: ["vision_tower.vision_model.encoder.layers.0.mlp.fc1", ...text].map((name) => module(name)),
    });

  it("ignores whole towers, unless targets name a part of them", async () => {
    const model = llava(["language_model.model.layers.0.mlp.shared_expert.up_proj"]);
    expect(ignoreOf(await plan(model, W8A8))).toEqual(["lm_head", "re:.*vision_tower.*"]);
    const named = "QuantizationModifier: {scheme: W8A8, targets: ['re:.*fc1$'], ignore: []}";
    expect(ignoreOf(await plan(model, named))).toEqual([]);
  });

  it("ignores what joins a tower to the model and only some configurations have", async () => {
    const config = { model_type: "gemma4", text_config: { model_type: "gemma4_text" } };
    const names = ["model.language_model.layers.0.mlp.up_proj", "model.embed_vision.embedding_projection"];
    const found = await plan(inspected({ config, tensors: names.map((name) => module(name)) }), W8A8);
    expect(ignoreOf(found)).toEqual(["lm_head", "re:.*embed_vision.*"]);
  });

  it("is the one that was given where defaults leave nothing out", async () => {
    const found = await plan(inspected(headersOf("llama")), W8A8);
    expect(ignoreOf(found)).toEqual(["lm_head"]);
    expect(found.defaultsNote).toBeNull();
  });

  it("repeats nothing that is ignored already, nor what no target means", async () => {
    const model = inspected(headersOf("qwen2-moe"));
    const both = `QuantizationModifier: {scheme: W8A8, targets: [Linear], ignore: [lm_head, 're:.*gate$']}`;
    const attention = "QuantizationModifier: {scheme: W8A8, targets: ['re:.*self_attn.*'], ignore: []}";
    for (const modifiers of [both, attention]) expect((await plan(model, modifiers)).defaultsNote).toBeNull();
    const pattern = "QuantizationModifier: {scheme: W8A8, targets: ['re:.*mlp.*'], ignore: []}";
    expect(ignoreOf(await plan(model, pattern))).toEqual([ROUTER, SHARED]);
  });
});
