// What the shapes of Llama 3 take of a GPU budget: no layer of 70B fits into 4 GiB with its Hessians, none of 8B into 1 GiB.

import { describe, expect, it } from "vitest";
import type { CalibrationOptions } from "../../api/job-options.ts";
import { rewritingModifiers } from "../../formats/recipe/recipe.ts";
import { type TensorSpec, tensorBytes } from "../../formats/safetensors/safetensors.ts";
import { parseRecipe } from "../../plan/recipe/parse-recipe.ts";
import { planSteps } from "../../plan/plan-steps.ts";
import { readConfig } from "../../plan/checkpoint/read-config.ts";
import { waitingModules } from "./layers/calibrated-layer.ts";
import { leastStrassen, strassenRequests, strassenSizes } from "../../gpu/matmul/strassen/strassen-size.ts";
import { CHUNK_SUMS } from "./samples/sample-chunks.ts";
import { weightsWithin } from "../../quantize/gptq/dequantize-stored.ts";
import { earlyLinears, earlyRing } from "./memory/early-room.ts";
import { lentBytes } from "./memory/strassen-room.ts";
import { ringBytes } from "../../gpu/staging/ring-pieces.ts";
import { residentBytes } from "../../onload/residency.ts";
import { mappingNotes } from "./layers/mapping-notes.ts";
import { planCalibrationJob } from "./plan-calibrated-layers.ts";
import { CALIBRATION_OPTIONS } from "../../testing/calibration-options.ts";

const GIB = 1024 ** 3;
const SAMPLES = 64;
const [HIDDEN, INNER] = [8192, 28_672];
const LARGE = { hidden: HIDDEN, inner: INNER, heads: 64, kvHeads: 8 };
const MIDDLING = { hidden: 4096, inner: 14_336, heads: 32, kvHeads: 8 };

type Sizes = typeof LARGE;

function configOf({ hidden, inner, heads, kvHeads }: Sizes) {
  return {
    model_type: "llama",
    hidden_size: hidden,
    intermediate_size: inner,
    num_hidden_layers: 1,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    hidden_act: "silu",
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 500_000,
    vocab_size: 128,
    tie_word_embeddings: false,
  };
}

const OPTIONS: CalibrationOptions = {
  ...CALIBRATION_OPTIONS,
  num_calibration_samples: SAMPLES,
  max_seq_length: 2048,
};

function tensorsOf({ hidden, inner, heads, kvHeads }: Sizes) {
  const layer = "model.layers.0";
  const kv = (hidden / heads) * kvHeads;
  const shapes: [string, number[]][] = [
    ["model.embed_tokens.weight", [128, hidden]],
    [`${layer}.self_attn.q_proj.weight`, [hidden, hidden]],
    [`${layer}.self_attn.k_proj.weight`, [kv, hidden]],
    [`${layer}.self_attn.v_proj.weight`, [kv, hidden]],
    [`${layer}.self_attn.o_proj.weight`, [hidden, hidden]],
    [`${layer}.mlp.gate_proj.weight`, [inner, hidden]],
    [`${layer}.mlp.up_proj.weight`, [inner, hidden]],
    [`${layer}.mlp.down_proj.weight`, [hidden, inner]],
    [`${layer}.input_layernorm.weight`, [hidden]],
    [`${layer}.post_attention_layernorm.weight`, [hidden]],
    ["model.norm.weight", [hidden]],
    ["lm_head.weight", [128, hidden]],
  ];
  let end = 0;
  return shapes.map(([name, shape]) => {
    const spec: TensorSpec = { name, dtype: "BF16", shape };
    const start = end;
    end += tensorBytes(spec);
    return { ...spec, file: "model.safetensors", start, end };
  });
}

function plan(
  awq: string | null,
  quantizer: string,
  { budgetBytes = 4 * GIB, maxBufferBytes = GIB / 8, sizes = LARGE, sums = 1, hasMatrixUnits = false } = {},
) {
  const before = awq === null ? "" : `AWQModifier: {${awq}}, `;
  const recipe = parseRecipe(
    `s_stage: {q_modifiers: {${before}${quantizer}: {scheme: W4A16, ignore: [lm_head]}}}`,
  );
  const tensors = tensorsOf(sizes);
  const { steps } = planSteps(tensors, recipe);
  const model = { config: readConfig(new TextEncoder().encode(JSON.stringify(configOf(sizes)))), tensors };
  const sequences = Array.from({ length: SAMPLES }, () => new Uint32Array(2048));
  const set = { sequences, tokens: SAMPLES * 2048, notes: [] };
  const limits = { budgetBytes, maxBufferBytes, hasMatrixUnits, ...(sums > 1 && { sums }) };
  const rewriting = rewritingModifiers(recipe);
  return planCalibrationJob(model, { steps, cache: null, rewriting }, set, OPTIONS, limits);
}

describe("GPTQ on a layer of 70B", () => {
  const turnsOf = (budgetBytes: number, maxBufferBytes: number) => {
    const { plan: fitted } = plan(null, "GPTQModifier", { budgetBytes, maxBufferBytes });
    const [schedule] = fitted.layers;
    expect(fitted.peakBytes).toBeLessThanOrEqual(budgetBytes);
    const short = (module: string) => module.split(".").at(-1);
    return {
      overlap: schedule?.overlap,
      ...(fitted.strassen && {
        strassen: fitted.strassen.stays ? "stays" : fitted.strassen.scratch?.mlpTokens,
      }),
      turns: schedule?.settling?.turns.map(({ brings, capture }) => [
        capture.modules.map(short),
        brings.map(short),
      ]),
    };
  };

  const others = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj"];

  it.each([
    ["which its weight alone is beside in whole buffers", 2 * GIB, 0, { strassen: 2048 }],
    ["which more are beside in small ones", GIB / 8, 2, {}],
  ])("in 4 GiB begins with the largest Hessian, %s", (_, maxBufferBytes, ahead, products) => {
    expect(turnsOf(4 * GIB, maxBufferBytes)).toEqual({
      overlap: false,
      ...products,
      turns: [
        [["down_proj"], ["down_proj", ...others.slice(0, ahead)]],
        [others.slice(0, 3), others.slice(ahead)],
        [others.slice(3, 4), []],
        [others.slice(4), []],
      ],
    });
  });

  it("in 4 GiB has room for Strassen's products while samples are propagated, with an MLP of a whole batch", () => {
    const { plan: fitted } = plan(null, "GPTQModifier", { maxBufferBytes: 2 * GIB });
    const largest = { m: 2048, n: INNER, k: INNER };
    const scratch = { bytes: 2048 * 2 * INNER * 4, mlpTokens: 2048 };
    const [size] = strassenSizes(largest);
    expect(size?.chunk.n).toBe(8192);
    expect(fitted.strassen).toEqual({ ...size, stays: false, scratch });
    const products = strassenRequests(size ?? leastStrassen(largest)).reduce(
      (sum, { bytes }) => sum + bytes,
      0,
    );
    expect(fitted.propagatingBytes + scratch.bytes + products).toBeLessThanOrEqual(fitted.peakBytes);
  });

  it.each([
    [false, ["gate_proj", "up_proj", "q_proj"]],
    [true, ["gate_proj", "up_proj", "q_proj", "o_proj"]],
  ])("in 4 GiB has weights of the next layer come early, with matrix units: %s", (hasMatrixUnits, come) => {
    const maxBufferBytes = 2 * GIB;
    const { plan: fitted, layers } = plan(null, "GPTQModifier", { maxBufferBytes, hasMatrixUnits });
    const [[layer], [schedule]] = [layers, fitted.layers];
    if (!layer || !schedule) throw new Error("there is a layer");
    const early = earlyLinears({ layer, schedule, passed: null }, fitted, maxBufferBytes);
    expect(early.map(({ module }) => module.split(".").at(-1))).toEqual(come);
    const bytes = residentBytes(early, layer.dtypeOf, maxBufferBytes) + ringBytes(earlyRing(fitted.shape));
    expect(fitted.propagatingBytes + lentBytes(fitted.strassen) + bytes).toBeLessThanOrEqual(
      fitted.peakBytes,
    );
  });

  it("has a second batch at work where samples run through it, though quantizing takes what that needs", () => {
    const { plan: fitted } = plan(null, "GPTQModifier", { maxBufferBytes: 2 * GIB });
    expect(fitted.hidden).toMatchObject({ place: "host", atWork: 1 });
    expect(fitted.layers[0]?.atWork).toEqual({ calibrate: [2], propagate: 2 });
    expect(fitted.shape.ring.pieces).toBeGreaterThan(2);
    expect(fitted.shape.readbackRing.pieces).toBeGreaterThan(2);
    expect(fitted.peakBytes).toBeLessThanOrEqual(4 * GIB);
  });

  it("has all stay from the first pass on where there is room, and none where there is too little", () => {
    expect(turnsOf(24 * GIB, 2 * GIB)).toEqual({ overlap: true, turns: undefined, strassen: "stays" });
    expect(turnsOf(2.4 * GIB, GIB / 8)).toEqual({ overlap: false, turns: undefined });
  });
});

describe("GPTQ on a layer of 8B", () => {
  const middling = (budgetBytes: number) => {
    const { plan: fitted, layers } = plan(null, "GPTQModifier", {
      budgetBytes,
      maxBufferBytes: 2 * GIB,
      sizes: MIDDLING,
    });
    expect(fitted.peakBytes).toBeLessThanOrEqual(budgetBytes);
    const [layer] = layers;
    const [schedule] = fitted.layers;
    const inputs = schedule?.passes.map((pass) => pass.map(({ modules }) => modules[0]?.split(".").at(-1)));
    const { ring, tileBytes } = fitted.shape;
    expect(ring.pieceBytes).toBeLessThanOrEqual(tileBytes);
    const waiting = layer && schedule ? waitingModules(layer, schedule.passes).size : null;
    return { resident: schedule?.resident, atWork: fitted.hidden.atWork, inputs, waiting };
  };

  it("in 1 GiB runs samples once more to the input of gate and up, so that no weight comes anew for each batch", () => {
    const inputs = [["down_proj"], ["q_proj", "o_proj", "gate_proj"]];
    // What down's codes mean takes the place of its weights at once: the other inputs do not depend on them.
    expect(middling(GIB)).toEqual({ resident: true, atWork: 2, inputs, waiting: 0 });
  });

  it("in less has tiles come through pieces that hold no more", () => {
    expect(middling(0.85 * GIB).resident).toBe(false);
  });

  it("takes smaller batches where two of them are at work then", () => {
    expect(middling(4 * GIB)).toMatchObject({ resident: true, atWork: 2 });
  });

  it("runs them once where all Hessians have room beside the weights", () => {
    const inputs = [["q_proj", "o_proj", "gate_proj", "down_proj"]];
    expect(middling(1.5 * GIB)).toMatchObject({ resident: true, inputs });
  });
});

describe("AWQ on a layer of 70B in a budget of 4 GiB", () => {
  it.each([
    ["", "QuantizationModifier"],
    ["", "GPTQModifier"],
    ["loss: block", "QuantizationModifier"],
  ])("fits, with {%s} before %s", (awq, quantizer) => {
    const { plan: fitted, peakBytes, layers } = plan(awq, quantizer);
    expect(peakBytes).toBeLessThanOrEqual(4 * GIB);
    const [schedule] = fitted.layers;
    const passes = schedule?.rewrites.flat() ?? [];
    const hessians = passes.flatMap(({ captures }) => captures.map(({ columns }) => columns));
    // Attention and MLP are run by themselves; what down reads has a Hessian.
    expect(hessians).toEqual(awq === "" ? [HIDDEN, INNER] : [INNER]);
    expect(passes.some(({ runsBlocks }) => runsBlocks)).toBe(awq !== "");
    expect(layers[0]?.rewritings[0]?.mappings).toHaveLength(3);
  });

  it("says what it leaves out, and where it does not fit", () => {
    expect(mappingNotes(plan("", "QuantizationModifier").layers)).toEqual([
      expect.stringMatching(/inputs of 1 attention output projection as they are: a value head there/),
    ]);
    expect(() => plan("", "QuantizationModifier", { budgetBytes: GIB })).toThrow(/too small to calibrate/);
  });
});

describe("shares of 8B", () => {
  const ofBudget = (budgetBytes: number) => {
    const { plan: fitted, layers } = plan(null, "GPTQModifier", {
      budgetBytes,
      maxBufferBytes: 2 * GIB,
      sizes: MIDDLING,
      sums: CHUNK_SUMS,
    });
    const [schedule] = fitted.layers;
    const tasks = layers.flatMap((layer) => layer.tasks);
    const weights = weightsWithin(tasks, schedule?.spareQuantizing ?? 0);
    return { overlap: schedule?.overlap, bringsAhead: fitted.bringsAhead, weights };
  };

  it("make weights of others' codes while they choose their own where weights stay, and bring the next layer's where it fits", () => {
    expect(ofBudget(100 * GIB)).toEqual({ overlap: true, bringsAhead: true, weights: 16 * 1024 ** 2 });
    expect(ofBudget(3 * GIB)).toMatchObject({ overlap: false, bringsAhead: false });
  });
});
