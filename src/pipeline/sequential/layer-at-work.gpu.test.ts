// A decoder layer of 64 experts: whole on the GPU, or one Linear of one expert at a time.

import { describe, expect, it } from "vitest";
import { makeBatches } from "../../calibrate/batches.ts";
import { createBatch } from "../../calibrate/forward/token-batch.ts";
import { createWorkspace } from "../../calibrate/forward/workspace.ts";
import { createLifetime } from "../../disposal.ts";
import { narrowFromFloat32 } from "../../formats/dtype.ts";
import type { TensorSpec } from "../../formats/safetensors.ts";
import { tensorBytes } from "../../formats/safetensors.ts";
import type { LedgerBuffer } from "../../gpu/memory.ts";
import { ReadbackRing, UploadRing } from "../../gpu/staging.ts";
import { describedTensors } from "../../model/check-tensors.ts";
import { describeDecoder } from "../../model/describe-decoder.ts";
import type { HostLayer } from "../../onload/layer-weights.ts";
import { parseRecipe } from "../../plan/parse-recipe.ts";
import { planSteps } from "../../plan/plan-steps.ts";
import { readConfig } from "../../plan/read-config.ts";
import { openTestGpu } from "../../testing/open-test-gpu.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import {
  type CalibrationJob,
  expertCalibration,
  planCalibrationJob,
} from "../calibration/plan-calibrated-layers.ts";
import type { LayerSchedule } from "../calibration/fit-calibration.ts";
import { calibrate } from "./calibrate.ts";
import { type LayerAtWork, type LayerTurn, onload } from "./layer-at-work.ts";
import { propagate } from "./propagate.ts";
import { quantize } from "./quantize.ts";
import type { CalibrationOptions } from "../../api/job-options.ts";
import type { SequentialServices } from "./services.ts";

const MIB = 1024 ** 2;
/** What a run takes beside what was planned: the hidden states are its own. */
const RUN_BYTES = 8 * MIB;
const LENGTHS = [12, 8];
const TOKENS = 20;
const HIDDEN = 64;
const EXPERT = 64;

const configOf = (experts: number) => ({
  model_type: "qwen3_moe",
  hidden_size: HIDDEN,
  intermediate_size: 128,
  moe_intermediate_size: EXPERT,
  num_experts: experts,
  num_experts_per_tok: 2,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 64,
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
function checkpoint(count: number): TensorSpec[] {
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
  const shapes: [string, number[]][] = [
    ["model.embed_tokens.weight", [64, HIDDEN]],
    linear("self_attn.q_proj", 128, HIDDEN),
    linear("self_attn.k_proj", 64, HIDDEN),
    linear("self_attn.v_proj", 64, HIDDEN),
    linear("self_attn.o_proj", HIDDEN, 128),
    linear("mlp.gate", count, HIDDEN),
    ...experts,
    ...["input_layernorm", "post_attention_layernorm"].map((name): [string, number[]] => [
      `${layer}.${name}.weight`,
      [HIDDEN],
    ]),
    ...["q_norm", "k_norm"].map((name): [string, number[]] => [`${layer}.self_attn.${name}.weight`, [64]]),
    ["model.norm.weight", [HIDDEN]],
    ["lm_head.weight", [64, HIDDEN]],
  ];
  return shapes.map(([name, shape]) => ({ name, dtype: "BF16", shape }));
}

function planFor(
  {
    experts,
    budgetBytes,
    scheme = NARROW,
  }: { readonly experts: number; readonly budgetBytes: number; readonly scheme?: string },
  ignore: string,
  options: Partial<CalibrationOptions> = {},
): CalibrationJob {
  let end = 0;
  const tensors = checkpoint(experts).map((spec) => {
    const start = end;
    end += tensorBytes(spec);
    return { ...spec, file: "model.safetensors", start, end };
  });
  const recipe = parseRecipe(
    `s_stage: {q_modifiers: {GPTQModifier: {${scheme}, ignore: [lm_head, ${ignore}]}}}`,
  );
  const model = { config: readConfig(new TextEncoder().encode(JSON.stringify(configOf(experts)))), tensors };
  const set = { sequences: LENGTHS.map((length) => new Uint32Array(length)), tokens: TOKENS, notes: [] };
  return planCalibrationJob(
    model,
    { steps: planSteps(tensors, recipe).steps, cache: null },
    set,
    {
      source: { kind: "model" },
      num_calibration_samples: LENGTHS.length,
      max_seq_length: 64,
      shuffle_calibration_samples: false,
      seed: 0,
      hidden_states_dtype: "F32",
      forward_products: "AUTO",
      propagate_error: true,
      moe_calibrate_all_experts: true,
      moe_min_tokens_per_expert: 1,
      ...options,
    },
    { budgetBytes, maxBufferBytes: 128 * MIB },
  );
}

function hostLayer(experts: number): HostLayer {
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
    return [name, { dtype: "BF16", columns, bytes: narrowFromFloat32("BF16", values) }] as const;
  });
  return { tensors: new Map(tensors) };
}

const STATES = randomNormal(TOKENS * HIDDEN, seededRandom(3));

interface Run extends Disposable {
  /** What quantizing wrote, by tensor and offset. */
  readonly written: Map<string, readonly number[]>;
  readonly services: SequentialServices;
  /** What propagating saved since this was last asked. */
  outputs(): Float32Array;
}

async function openRun(
  job: CalibrationJob,
  budgetBytes: number,
  { buffers = 1, maxTokens = TOKENS } = {},
): Promise<Run> {
  const lifetime = createLifetime();
  const test = await openTestGpu(budgetBytes + RUN_BYTES);
  const { gpu } = test;
  const { plan } = job;
  const uploads = lifetime.use(await UploadRing.create(gpu, plan.shape.ring));
  const readbacks = lifetime.use(await ReadbackRing.create(gpu, plan.shape.ring));
  const workspace = lifetime.use(await createWorkspace(gpu, uploads, plan.workspace));
  const request = { label: "hidden", bytes: TOKENS * HIDDEN * 4 };
  const hidden: readonly LedgerBuffer[] = await gpu.memory.allocateAll(
    Array.from({ length: buffers }, () => request),
  );
  hidden.forEach((buffer) => lifetime.use(buffer));
  const batches = [];
  for (const rows of makeBatches(LENGTHS, maxTokens)) {
    const lengths = LENGTHS.slice(rows.first, rows.first + rows.starts.length - 1);
    batches.push({ rows, tokens: lifetime.use(await createBatch(gpu, uploads, lengths)) });
  }
  const outputs = new Float32Array(STATES.length);
  const written = new Map<string, readonly number[]>();
  const services: SequentialServices = {
    gpu,
    uploads,
    readbacks,
    plan,
    tiles: null,
    traffic: {
      read: async () => await Promise.resolve(new Uint8Array()),
      write: () => undefined,
      checkpoint: async () => await Promise.resolve(),
      finished: () => undefined,
    },
    workspace,
    batches,
    hidden,
    states: {
      async load({ firstToken, tokens }, to) {
        const part = STATES.slice(firstToken * HIDDEN, (firstToken + tokens) * HIDDEN);
        await uploads.write(new Uint8Array(part.buffer), to);
      },
      async save({ firstToken, tokens }, from) {
        const bytes = await readbacks.readBytes(from, 0, tokens * HIDDEN * 4);
        outputs.set(new Float32Array(bytes.buffer), firstToken * HIDDEN);
      },
      put: async () => await Promise.resolve(),
      putRows: null,
      turn: () => undefined,
      [Symbol.dispose]: () => undefined,
    },
    samples: LENGTHS.length,
    propagateError: true,
    experts: expertCalibration(job.options),
    minExpertTokens: job.options.moe_min_tokens_per_expert,
    write: (tensor, offset, bytes) => void written.set(`${tensor} ${offset}`, [...bytes]),
    checkpoint: async () => await Promise.resolve(),
    report: () => undefined,
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

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** The turn of the one layer that was planned. */
function turnOf(
  { services }: Pick<Run, "services">,
  job: CalibrationJob,
  host: HostLayer,
  schedule: LayerSchedule = only(job.plan.layers),
): LayerTurn {
  return {
    step: { index: 1, name: "model.layers.0", quantize: [], copy: [], measured: [] },
    layer: only(job.layers),
    schedule,
    isLast: false,
    services,
    host,
    hosts: { take: async () => await Promise.resolve(host), readAfter: () => undefined },
    clock: { due: () => false, restart: () => undefined },
  };
}

async function quantizeLayer(work: LayerAtWork): Promise<LayerAtWork["reports"]> {
  for (const pass of work.passes) {
    using statistics = await calibrate(work, pass);
    await quantize(work, pass, statistics);
  }
  return work.reports;
}

function only<Item>(items: readonly Item[]): Item {
  const [item] = items;
  if (item === undefined) throw new Error("one layer was planned");
  return item;
}

/** Peak of what propagating a layer takes beside what lives through the whole job, and the layer's output. */
async function propagated(budgetBytes: number, residentBytes: number) {
  const job = planFor({ experts: 64, budgetBytes }, '"re:.*experts"');
  using run = await openRun(job, budgetBytes);
  const { memory, queue } = run.services.gpu;
  await queue.idle();
  const before = memory.bytes;
  const planned = only(job.plan.layers);
  const residency = { ...planned.residency, propagate: { ...planned.residency.propagate, residentBytes } };
  const passes = { ...planned, residency, overlap: false };
  using work = await onload(turnOf(run, job, hostLayer(64), passes));
  await propagate(work);
  return {
    resident: planned.resident,
    bytes: memory.peakBytes - before,
    outputs: run.outputs(),
  };
}

describe("a layer whose weights stay on the GPU while they are quantized", () => {
  it("gives the same bytes and hidden states as one whose weights come anew, for one pass or for several", async () => {
    const budgetBytes = 64 * MIB;
    const job = planFor({ experts: 2, budgetBytes }, '"re:.*self_attn", "re:.*up_proj"');
    using run = await openRun(job, budgetBytes);
    const planned = only(job.plan.layers);
    expect(planned.overlap).toBe(true);
    const compressed = async (passes: LayerSchedule, propagateError: boolean) => {
      const services = { ...run.services, propagateError };
      using work = await onload(turnOf({ services }, job, hostLayer(2), passes));
      run.written.clear();
      const reports = await quantizeLayer(work);
      await propagate(work);
      const losses = reports.map(({ module, loss, rtnLoss }) => ({ module, loss, rtnLoss }));
      return { losses, written: new Map(run.written), outputs: run.outputs() };
    };
    const anew = { ...planned, overlap: false };
    const several = { ...anew, passes: planned.passes.flat().map((capture) => [capture]) };
    expect(several.passes.length).toBeGreaterThan(1);
    const kept = await compressed(planned, true);
    expect(kept.written.size).toBeGreaterThan(5);
    expect(await compressed(anew, true)).toEqual(kept);
    expect(await compressed(several, true)).toEqual(kept);
    expect(await compressed(anew, false)).toEqual(await compressed(planned, false));
    expect(run.services.gpu.memory.peakBytes).toBeLessThanOrEqual(job.peakBytes + RUN_BYTES);
  });
});

describe("a layer of NVFP4 weights by GPTQ", () => {
  it("gives the modules of a fused set one global scale, over ranges that the Hessian weighs", async () => {
    const budgetBytes = 64 * MIB;
    const weights =
      "{num_bits: 4, type: float, strategy: tensor_group, group_size: 16, scale_dtype: torch.float8_e4m3fn, observer: imatrix_mse}";
    const scheme = `config_groups: {group_0: {targets: [Linear], weights: ${weights}}}`;
    const job = planFor({ experts: 2, budgetBytes, scheme }, '"re:.*o_proj", "re:.*down_proj"');
    using run = await openRun(job, budgetBytes);
    using work = await onload(turnOf(run, job, hostLayer(2)));
    const reports = await quantizeLayer(work);
    expect(reports.every(({ loss, rtnLoss }) => loss < rtnLoss)).toBe(true);
    const scaleOf = (module: string) => run.written.get(`model.layers.0.${module}.weight_global_scale 0`);
    const [q, k, v] = ["q", "k", "v"].map((part) => scaleOf(`self_attn.${part}_proj`));
    expect(q).toHaveLength(4);
    expect([k, v]).toEqual([q, q]);
    const up = scaleOf("mlp.experts.0.up_proj");
    expect(scaleOf("mlp.experts.0.gate_proj")).toEqual(up);
    expect(scaleOf("mlp.experts.1.up_proj")).not.toEqual(up);
  });
});

describe("a layer whose batches come and go while others are computed", () => {
  it("gives the same hidden states as one that does one thing at a time", async () => {
    const budgetBytes = 64 * MIB;
    const job = planFor({ experts: 2, budgetBytes }, '"re:.*self_attn"');
    using run = await openRun(job, budgetBytes, { buffers: 2, maxTokens: 1 });
    const { services } = run;
    expect(services.batches.length).toBe(LENGTHS.length);
    using work = await onload(turnOf(run, job, hostLayer(2)));
    await propagate({ ...work, services: { ...services, hidden: services.hidden.slice(0, 1) } });
    const alone = run.outputs();
    await propagate(work);
    expect(alone.every((value) => value !== 0)).toBe(true);
    expect(run.outputs()).toEqual(alone);
  });
});

describe("a layer of experts", () => {
  it("of which there are 64 takes the memory of its largest Linear where one at a time is onloaded, and gives the same bit for bit", async () => {
    const whole = await propagated(64 * MIB, Infinity);
    const streamed = await propagated(1 * MIB, 0);
    expect([whole.resident, streamed.resident]).toEqual([true, false]);
    expect(streamed.outputs).toEqual(whole.outputs);
    const weights = checkpoint(64).filter(({ name }) => name.startsWith("model.layers."));
    const linears = weights.filter(({ shape }) => shape.length > 1).map(tensorBytes);
    // Norms are bfloat16 in the file and float32 on the GPU.
    const norms = sum(weights.filter(({ shape }) => shape.length === 1).map(tensorBytes)) * 2;
    expect(whole.bytes).toBe(sum(linears) + norms);
    expect(streamed.bytes).toBe(Math.max(...linears) + norms);
  });

  it("rounds experts to nearest that see too few of their own tokens, and says what each saw", async () => {
    const ignore = '"re:.*self_attn", "re:.*experts\\\\.[2-7]\\\\."';
    const options = { moe_calibrate_all_experts: false, moe_min_tokens_per_expert: 5 };
    const job = planFor({ experts: 8, budgetBytes: 64 * MIB }, ignore, options);
    using run = await openRun(job, 64 * MIB);
    using work = await onload(turnOf(run, job, hostLayer(8)));
    const reports = await quantizeLayer(work);
    const [seen, few] = [true, false].map((enough) => reports.filter(({ tokens }) => tokens >= 5 === enough));
    expect([seen?.length, few?.length]).toEqual([3, 3]);
    expect(seen?.every(({ loss, rtnLoss }) => loss < rtnLoss)).toBe(true);
    expect(few?.map(({ loss, rtnLoss }) => [loss, rtnLoss])).toEqual([
      [0, 0],
      [0, 0],
      [0, 0],
    ]);
  });
});
