// Stand-ins for everything outside of the interface. Nothing here imitates the workers' work: tests set what each call
// answers, and hold open the ones whose waiting they look at.

import type {
  FitReport,
  ModelSummary,
  ModuleReport,
  PresetSize,
  Progress,
  ResultFit,
  ResultSummary,
  StoredJob,
} from "../../api/compressor-api.ts";
import type { Evaluator } from "../../api/across-threads.ts";
import type { MeasurementStore } from "../state/measurements/measurement-store.ts";
import type {
  Compressor,
  Download,
  HubSettings,
  Platform,
  Publisher,
  Services,
  SourceStore,
} from "../state/services.ts";
import type { JobOptions } from "../../api/job-options.ts";
import type { MixedRecipe, SchemeSurvey } from "../../api/scheme-survey.ts";
import { fakeEvaluator } from "./fake-evaluator.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

const ADAPTER = {
  vendor: "nvidia",
  architecture: "lovelace",
  description: "",
  software: false,
  maxBufferBytes: 4 * GIB - 4,
  maxBindingBytes: 2 * GIB - 4,
  features: [],
  matrices: null,
} as const;

export const MODEL: ModelSummary = {
  source: {
    key: "hub:meta-llama/Llama-3.1-8B-Instruct@0e9e39f",
    label: "meta-llama/Llama-3.1-8B-Instruct @ 0e9e39f",
    name: "Llama-3.1-8B-Instruct",
    repository: "meta-llama/Llama-3.1-8B-Instruct",
    revision: "0e9e39f249a16976918f6564b8830bc894c89659",
    host: "huggingface.co",
    files: [{ path: "config.json", bytes: 855 }],
  },
  architecture: "LlamaForCausalLM",
  modelType: "llama",
  parameters: 8_030_261_248,
  dtypes: [{ dtype: "BF16", parameters: 8_030_261_248 }],
  layers: 32,
  weightBytes: 16_060_522_496,
  shards: 4,
  license: "llama3.1",
  quantization: null,
  notes: [],
};

export const OPTIONS: JobOptions = {
  recipe: {
    kind: "controls",
    scheme: "W4A16",
    group_size: null,
    ignore: ["lm_head"],
    method: { name: "QuantizationModifier" },
    observer: "memoryless_minmax",
  },
  calibration: null,
  gpuBudgetBytes: 2 * GIB,
  keepSource: false,
};

function presetSize(scheme: string, resultBytes: number): PresetSize {
  return { scheme, title: scheme, sentence: "", needsCalibration: false, resultBytes, problem: null };
}

const RESULT_FIT: ResultFit = {
  scheme: "W4A16",
  recipeYaml: `default_stage:
  default_modifiers:
    QuantizationModifier:
      targets: [Linear]
      ignore: [lm_head]
      scheme: W4A16
`,
  resultBytes: 5_735_718_912,
  bitsPerWeight: 4.16,
  quantizedModules: 224,
  copiedTensors: 67,
  leads: true,
  serverNotes: [],
  servableRecipe: null,
};

export const FIT: FitReport = {
  ...RESULT_FIT,
  results: [RESULT_FIT],
  downloadBytes: 16_060_522_496,
  indexedDbBytes: 1_308_622_848,
  opfsBytes: 5_735_718_912,
  layerFileBytes: 0,
  freeBytes: 96 * GIB,
  peakGpuBytes: 512 * MIB,
  gpuBudgetBytes: 4 * GIB,
  presets: [
    presetSize("W4A16", 5_735_718_912),
    presetSize("W8A16", 9_187_000_320),
    presetSize("W8A8", 9_081_462_784),
    presetSize("FP8_DYNAMIC", 9_081_462_784),
  ],
  estimatedSeconds: 540,
  calibration: null,
  verdict: "fits",
  sentences: ["It fits.", "The GPU holds at most 512 MiB of its budget of 4 GiB at a time."],
  partCosts: { layers: [], restBytes: 0, batches: 0, statesBytes: 0, dependence: null, shares: 0 },
};

export const PROGRESS: Progress = {
  phase: "quantizing",
  step: 12,
  steps: 34,
  stepName: "model.layers.10",
  detail: "model.layers.10.mlp.up_proj",
  reportedModules: 0,
  bytesDone: 5_900_000_000,
  bytesTotal: 16_060_522_496,
  source: {
    downloadedBytes: 6_700_000_000,
    bytesPerSecond: 41_000_000,
    storedBytes: 812_000_000,
    waiting: null,
  },
  gpuBytes: 381 * MIB,
  gpuPeakBytes: 498 * MIB,
  gpuBudgetBytes: 4 * GIB,
  secondsElapsed: 163,
  secondsLeft: 252,
  paused: false,
  notice: null,
};

export const RESULT: ResultSummary = {
  jobId: "3f6c1a2b",
  name: "Llama-3.1-8B-Instruct-W4A16",
  files: [
    { path: "model-00001-of-00002.safetensors", bytes: 4_998_103_040 },
    { path: "model-00002-of-00002.safetensors", bytes: 737_615_872 },
    { path: "model.safetensors.index.json", bytes: 76_204 },
    { path: "config.json", bytes: 2_113 },
    { path: "generation_config.json", bytes: 184 },
    { path: "recipe.yaml", bytes: 214 },
    { path: "tokenizer.json", bytes: 9_085_657 },
    { path: "tokenizer_config.json", bytes: 55_351 },
    { path: "README.md", bytes: 1_204 },
  ],
  sourceBytes: 16_060_522_496,
  dequantized: false,
  resultBytes: 5_735_718_912,
  bitsPerWeight: 4.16,
  peakGpuBytes: 498 * MIB,
  plannedGpuBytes: 512 * MIB,
  worstSubmitMs: 31,
  longestSubmits: [],
  gpuBusySeconds: 1,
  seconds: { starting: 1.2, onloading: 251, quantizing: 154, packaging: 4.1, verifying: 9, total: 419 },
  recipeYaml: FIT.recipeYaml,
  modules: [],
  notes: [],
};

const SURVEY: SchemeSurvey = {
  schemes: ["W4A16", "W8A16", "as it is"],
  curve: [
    { resultBytes: 5_735_718_912, bitsPerWeight: 4.16, loss: 0.004 },
    { resultBytes: 9_187_000_320, bitsPerWeight: 8.16, loss: 0.0001 },
    { resultBytes: 16_060_522_496, bitsPerWeight: 16, loss: 0 },
  ],
};

const MIXED: MixedRecipe = {
  yaml: FIT.recipeYaml,
  resultBytes: 7_000_000_000,
  bitsPerWeight: 5.5,
  loss: 0.001,
  counts: [160, 64, 0],
};

/** A report of one module, in which only the given figures matter. */
export function moduleReport(module: string, own: Partial<ModuleReport> = {}): ModuleReport {
  const losses = { loss: 0.5, rtnLoss: 1, dampeningFrac: 0.01, attempts: 1, rounded: false };
  return { module, ...losses, deadColumns: 0, tokens: 8192, seconds: 0.2, ...own };
}

export const JOB: StoredJob = {
  jobId: "9d41c07e",
  label: "Qwen/Qwen3-14B @ 40c0698",
  scheme: "W4A16",
  finishedSteps: 17,
  steps: 42,
  done: false,
  bytes: 4_212_000_000,
  address: "Qwen/Qwen3-14B@40c0698",
  addressShortened: false,
  options: OPTIONS,
};

export interface FakeServices {
  readonly compressor?: Partial<Compressor>;
  readonly source?: Partial<SourceStore>;
  readonly evaluator?: Partial<Evaluator>;
  readonly measurements?: Partial<MeasurementStore>;
  readonly download?: Partial<Download>;
  readonly publisher?: Partial<Publisher>;
  readonly hub?: Partial<HubSettings>;
  readonly platform?: Partial<Platform>;
}

/** Services that answer at once with the values above, but for those that a test gives. */
export function fakeServices(own: FakeServices = {}): Services {
  return {
    compressor: { ...compressor, ...own.compressor },
    source: {
      stored: async () => [],
      deleteStored: nothing,
      progress: async () => PROGRESS.source,
      ...own.source,
    },
    evaluator: { ...fakeEvaluator(MODEL.source), ...own.evaluator },
    measurements: { list: async () => [], keep: nothing, deleteModel: nothing, ...own.measurements },
    download: { ...download, ...own.download },
    publisher: { ...publisher, ...own.publisher },
    hub: { url: "https://huggingface.co", clientId: "client", ...own.hub },
    platform: { ...platform, ...own.platform },
  };
}

const nothing = async () => undefined;

const publisher: Publisher = {
  signIn: async () => ({ name: "ada", owners: ["ada", "lab"] }),
  beginLogin: async () => ({ url: "https://huggingface.co/oauth", nonce: "n", codeVerifier: "v" }),
  endLogin: async () => ({ account: { name: "ada", owners: ["ada"] }, token: "hf_x", state: RESULT.jobId }),
  license: async () => "llama3.1",
  publish: async ({ repository }) => ({
    repository,
    url: `https://huggingface.co/${repository}`,
    commit: "c",
  }),
  stop: nothing,
};

const compressor: Compressor = {
  probe: async () => ADAPTER,
  inspect: async () => MODEL,
  plan: async () => FIT,
  presets: async () => FIT.presets,
  start: async () => [RESULT],
  survey: async () => SURVEY,
  mixedRecipe: async () => MIXED,
  moduleReports: async () => [],
  pause: nothing,
  resume: nothing,
  cancel: nothing,
  jobs: async () => [],
  result: async () => RESULT,
  makeReceipt: async () => RESULT,
  deleteJob: nothing,
};

const download: Download = {
  canSaveFolder: true,
  saveFolder: async ({ name }) => `Saved as ${name} in the folder models.`,
  saveFiles: async () => "Handed to the browser’s downloads.",
  sendFiles: async () => undefined,
  sampleFile: async () => "",
  saveZip: async ({ name }) => `Saved as ${name}.zip.`,
};

const platform: Platform = {
  holdForJob: () => ({ [Symbol.dispose]: () => undefined }),
  persisted: async () => false,
  persist: async () => true,
  copyText: nothing,
  reload: () => undefined,
  whenLeft: () => undefined,
  leaveForLogin: () => undefined,
  takeLogin: () => null,
  takeUpdate: async () => true,
  newestPerFrame: (apply) => apply,
};
