// A decoder layer, of experts or (with none of them) an MLP, under the conductor's verbs, on a test's GPU, without a source or a disk.

import type { CalibrationOptions } from "../api/job-options.ts";
import { makeBatches } from "../calibrate/batches.ts";
import { createBatch } from "../calibrate/forward/token-batch.ts";
import { createWorkspace } from "../calibrate/forward/workspace.ts";
import { createLifetime, type Lifetime } from "../disposal.ts";
import { type FloatDtype, narrowFromFloat32 } from "../formats/numbers/dtype.ts";
import type { QuantizerName } from "../formats/modifiers/quantizers.ts";
import { rewritingModifiers } from "../formats/recipe/recipe.ts";
import { type TensorSpec, tensorBytes } from "../formats/safetensors/safetensors.ts";
import type { LedgerBuffer } from "../gpu/memory.ts";
import { ReadbackRing, UploadRing } from "../gpu/staging/staging.ts";
import { describedTensors } from "../model/check-tensors.ts";
import { describeDecoder } from "../model/describe-decoder.ts";
import { type HostLayer, memoryLayer } from "../onload/layer-weights.ts";
import type { LayerSchedule } from "../pipeline/calibration/layer-schedule.ts";
import {
  type CalibrationJob,
  expertCalibration,
  planCalibrationJob,
} from "../pipeline/calibration/plan-calibrated-layers.ts";
import { streamedStep } from "../pipeline/planning/planned-step.ts";
import { createFolders } from "../pipeline/sequential/rewriting/folder-threads.ts";
import type { LayerOutput, LayerTurn } from "../pipeline/sequential/layer-at-work.ts";
import type { SequentialServices } from "../pipeline/sequential/services.ts";
import { parseRecipe } from "../plan/recipe/parse-recipe.ts";
import { planSteps } from "../plan/plan-steps.ts";
import { readConfig } from "../plan/checkpoint/read-config.ts";
import { CALIBRATION_OPTIONS } from "./calibration-options.ts";
import { openTestGpu } from "./open-test-gpu.ts";
import { randomNormal, seededRandom } from "./random.ts";

export const MIB = 1024 ** 2;
/** What a run takes beside what was planned: the hidden states are its own. */
export const RUN_BYTES = 8 * MIB;
export const LENGTHS = [12, 8];
const TOKENS = 20;
const HIDDEN = 64;
const EXPERT = 32;
const INNER = 128;
const HEAD = 32;

const configOf = (experts: number) => ({
  model_type: experts > 0 ? "qwen3_moe" : "qwen3",
  hidden_size: HIDDEN,
  intermediate_size: INNER,
  ...(experts > 0 ? { moe_intermediate_size: EXPERT, num_experts: experts, num_experts_per_tok: 2 } : {}),
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: HEAD,
  hidden_act: "silu",
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  vocab_size: 64,
  tie_word_embeddings: false,
});

const NARROW =
  "config_groups: {group_0: {targets: [Linear], weights: {num_bits: 4, type: int, symmetric: true, strategy: group, group_size: 32}}}";

/** Names and shapes of the checkpoint's tensors. */
export function checkpoint(count: number, dtype: FloatDtype = "BF16"): TensorSpec[] {
  const layer = "model.layers.0";
  const linear = (name: string, rows: number, columns: number): [string, number[]] => [
    `${layer}.${name}.weight`,
    [rows, columns],
  ];
  const experts = Array.from({ length: count }, (_, expert) => [
    linear(`mlp.experts.${expert}.gate_proj`, EXPERT, HIDDEN),
    linear(`mlp.experts.${expert}.up_proj`, EXPERT, HIDDEN),
    linear(`mlp.experts.${expert}.down_proj`, HIDDEN, EXPERT),
  ]).flat();
  const mlp = [
    linear("mlp.gate_proj", INNER, HIDDEN),
    linear("mlp.up_proj", INNER, HIDDEN),
    linear("mlp.down_proj", HIDDEN, INNER),
  ];
  const shapes: [string, number[]][] = [
    ["model.embed_tokens.weight", [64, HIDDEN]],
    linear("self_attn.q_proj", 2 * HEAD, HIDDEN),
    linear("self_attn.k_proj", HEAD, HIDDEN),
    linear("self_attn.v_proj", HEAD, HIDDEN),
    linear("self_attn.o_proj", HIDDEN, 2 * HEAD),
    ...(count > 0 ? [linear("mlp.gate", count, HIDDEN), ...experts] : mlp),
    ...["input_layernorm", "post_attention_layernorm"].map((name): [string, number[]] => [
      `${layer}.${name}.weight`,
      [HIDDEN],
    ]),
    ...["q_norm", "k_norm"].map((name): [string, number[]] => [`${layer}.self_attn.${name}.weight`, [HEAD]]),
    ["model.norm.weight", [HIDDEN]],
    ["lm_head.weight", [64, HIDDEN]],
  ];
  return shapes.map(([name, shape]) => ({ name, dtype, shape }));
}

interface LayerPlan {
  readonly experts: number;
  readonly budgetBytes: number;
  /** Arguments that say what is quantized to what. */
  readonly scheme?: string;
  /** Modifiers that stand before the one that quantizes, with a comma. */
  readonly before?: string;
  /** What quantizes; default GPTQ. */
  readonly quantizer?: QuantizerName;
  readonly dtype?: FloatDtype;
}

export function planFor(
  {
    experts,
    budgetBytes,
    scheme = NARROW,
    before = "",
    quantizer = "GPTQModifier",
    dtype = "BF16",
  }: LayerPlan,
  ignore: string,
  options: Partial<CalibrationOptions> = {},
): CalibrationJob {
  let end = 0;
  const tensors = checkpoint(experts, dtype).map((spec) => {
    const start = end;
    end += tensorBytes(spec);
    return { ...spec, file: "model.safetensors", start, end };
  });
  const recipe = parseRecipe(
    `s_stage: {q_modifiers: {${before}${quantizer}: {${scheme}, ignore: [lm_head, ${ignore}]}}}`,
  );
  const model = { config: readConfig(new TextEncoder().encode(JSON.stringify(configOf(experts)))), tensors };
  const set = { sequences: LENGTHS.map((length) => new Uint32Array(length)), tokens: TOKENS, notes: [] };
  return planCalibrationJob(
    model,
    { steps: planSteps(tensors, recipe).steps, cache: null, rewriting: rewritingModifiers(recipe) },
    set,
    {
      ...CALIBRATION_OPTIONS,
      num_calibration_samples: LENGTHS.length,
      moe_min_tokens_per_expert: 1,
      ...options,
    },
    { budgetBytes, maxBufferBytes: 128 * MIB },
  );
}

export function hostLayer(experts: number, dtype: FloatDtype = "BF16"): HostLayer {
  const random = seededRandom(7);
  const description = describeDecoder(
    configOf(experts),
    checkpoint(experts).map(({ name }) => name),
  );
  const tensors = [...describedTensors(description)].map(([name, shape]) => {
    const values = randomNormal(
      shape.reduce((product, size) => product * size, 1),
      random,
      shape.length === 1 ? 0.1 : 0.08,
    );
    if (shape.length === 1) values.forEach((value, index) => (values[index] = value + 1));
    const columns = shape[1] ?? 1;
    return [name, { dtype, columns, bytes: narrowFromFloat32(dtype, values) }] as const;
  });
  return memoryLayer(tensors);
}

export const STATES = randomNormal(TOKENS * HIDDEN, seededRandom(3));

export interface Run extends Disposable {
  /** What quantizing wrote, by tensor and offset. */
  readonly written: Map<string, readonly number[]>;
  readonly services: SequentialServices;
  /** What propagating saved since this was last asked. */
  outputs(): Float32Array;
}

const NO_TRAFFIC: SequentialServices["traffic"] = {
  read: async () => await Promise.resolve(new Uint8Array()),
  checkpoint: async () => await Promise.resolve(),
  recycle: () => undefined,
  finished: () => undefined,
};

/** Hidden states that are the same whenever they are asked for; what is saved goes to `outputs`. */
export function statesIn(
  { uploads, readbacks }: Pick<SequentialServices, "uploads" | "readbacks">,
  outputs: Float32Array,
  values: Float32Array<ArrayBuffer> = STATES,
): SequentialServices["states"] {
  return {
    async load({ firstToken, tokens }, to) {
      const part = values.slice(firstToken * HIDDEN, (firstToken + tokens) * HIDDEN);
      await uploads.write(new Uint8Array(part.buffer), to);
    },
    async save({ firstToken, tokens }, from) {
      const bytes = await readbacks.readBytes(from, 0, tokens * HIDDEN * 4);
      outputs.set(new Float32Array(bytes.buffer), firstToken * HIDDEN);
    },
    keepsArrays: false,
    put: async () => await Promise.resolve(),
    table: null,
    turn: () => undefined,
    [Symbol.dispose]: () => undefined,
  };
}

async function openBatches(
  { gpu, uploads }: Pick<SequentialServices, "gpu" | "uploads">,
  maxTokens: number,
  lifetime: Lifetime,
): Promise<SequentialServices["batches"]> {
  const batches = [];
  for (const rows of makeBatches(LENGTHS, maxTokens)) {
    const lengths = LENGTHS.slice(rows.first, rows.first + rows.starts.length - 1);
    batches.push({ rows, tokens: lifetime.use(await createBatch(gpu, uploads, lengths)) });
  }
  return batches;
}

/** Nothing is kept, nothing told, nothing shared. */
const SILENT = {
  share: null,
  keepsStates: () => false,
  keepStates: async () => await Promise.resolve(),
  report: () => undefined,
};

/** What these layers have no use for. */
const NOTHING_MORE = { tiles: null, original: null, tokenTables: null };

export async function openRun(
  job: CalibrationJob,
  budgetBytes: number,
  { buffers = 1, maxTokens = job.plan.shape.maxTokens } = {},
): Promise<Run> {
  const lifetime = createLifetime();
  const test = await openTestGpu(budgetBytes + RUN_BYTES);
  const { gpu } = test;
  const { plan } = job;
  const uploads = lifetime.use(await UploadRing.create(gpu, plan.shape.ring));
  const readbacks = lifetime.use(await ReadbackRing.create(gpu, plan.shape.readbackRing));
  const request = { label: "hidden", bytes: TOKENS * HIDDEN * 4 };
  const hidden: readonly LedgerBuffer[] = await gpu.memory.allocateAll(
    Array.from({ length: buffers }, () => request),
  );
  hidden.forEach((buffer) => lifetime.use(buffer));
  const rings = { gpu, uploads, readbacks };
  const outputs = new Float32Array(STATES.length);
  const written = new Map<string, readonly number[]>();
  const services: SequentialServices = {
    ...rings,
    plan,
    ...NOTHING_MORE,
    traffic: NO_TRAFFIC,
    fold: createFolders(),
    workspace: lifetime.use(await createWorkspace(gpu, uploads, plan.workspace)),
    batches: await openBatches(rings, maxTokens, lifetime),
    hidden,
    states: statesIn(rings, outputs),
    samples: LENGTHS.length,
    chunkAt: job.chunkAt,
    experts: expertCalibration(job.options),
    minExpertTokens: job.options.moe_min_tokens_per_expert,
    checkpoint: async () => await Promise.resolve(),
    ...SILENT,
  };
  return {
    services,
    written,
    outputs() {
      const saved = outputs.slice();
      outputs.fill(0);
      return saved;
    },
    [Symbol.dispose]() {
      lifetime[Symbol.dispose]();
      test[Symbol.dispose]();
    },
  };
}

/** The turn of the one layer that was planned. */
export function turnOf(
  { services, written }: Pick<Run, "services" | "written">,
  job: CalibrationJob,
  host: HostLayer,
  schedule: LayerSchedule = only(job.plan.layers),
  propagates = true,
): LayerTurn {
  const step = streamedStep({ index: 1, name: "model.layers.0", quantize: [], copy: [], measured: [] });
  const layer = only(job.layers);
  const write: LayerOutput["write"] = (tensor, offset, bytes) =>
    void written.set(`${tensor} ${offset}`, [...bytes]);
  return {
    step,
    layer,
    outputs: [{ step, share: layer, write, reports: [], propagates }],
    schedule,
    isLast: false,
    passed: null,
    index: 0,
    services,
    host,
    hosts: {
      take: async () => await Promise.resolve(host),
      coming: () => null,
      readAhead: () => undefined,
      readAfter: () => undefined,
    },
    weights: {
      bringAfter: () => undefined,
      take: async () => await Promise.resolve(null),
      [Symbol.asyncDispose]: async () => await Promise.resolve(),
    },
    early: {
      bringDuring: async (_, run) => await run(),
      take: () => new Map(),
      [Symbol.dispose]: () => undefined,
    },
    clock: { due: () => false, restart: () => undefined },
    gone: async () => await Promise.resolve(),
  };
}

export function only<Item>(items: readonly Item[]): Item {
  const [item] = items;
  if (item === undefined) throw new Error("one layer was planned");
  return item;
}
