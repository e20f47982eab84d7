// The families of models whose decoders are known, each a file of `families`: `dense` (attention and an MLP in each layer), `experts`
// (mixtures of experts) or `hybrid` (layers with a recurrence or a convolution).

import { describeApertus } from "./families/dense/apertus.ts";
import { describeArcee } from "./families/dense/arcee.ts";
import { describeCohere } from "./families/dense/cohere.ts";
import { describeCohere2 } from "./families/dense/cohere2.ts";
import { describeErnie45 } from "./families/dense/ernie4-5.ts";
import { describeExaone4 } from "./families/dense/exaone4.ts";
import { describeFalcon } from "./families/dense/falcon.ts";
import { describeGemma } from "./families/dense/gemma.ts";
import { describeGemma2 } from "./families/dense/gemma2.ts";
import { describeGemma3 } from "./families/dense/gemma3.ts";
import { describeGemma4 } from "./families/dense/gemma4.ts";
import { describeGlm, describeGlm4 } from "./families/dense/glm.ts";
import { describeGptNeox } from "./families/dense/gpt-neox.ts";
import { describeGranite } from "./families/dense/granite.ts";
import { describeHelium } from "./families/dense/helium.ts";
import { describeHunyuanDense } from "./families/dense/hunyuan-dense.ts";
import { describeLlama } from "./families/dense/llama.ts";
import { describeMinistral3 } from "./families/dense/ministral3.ts";
import { describeMistral } from "./families/dense/mistral.ts";
import { describeNemotron } from "./families/dense/nemotron.ts";
import { describeOlmo2 } from "./families/dense/olmo2.ts";
import { describeOlmo3 } from "./families/dense/olmo3.ts";
import { describePhi } from "./families/dense/phi.ts";
import { describePhi3 } from "./families/dense/phi3.ts";
import { describeQwen2Vl, describeQwen3Vl } from "./families/dense/qwen-vl.ts";
import { describeQwen2 } from "./families/dense/qwen2.ts";
import { describeQwen3 } from "./families/dense/qwen3.ts";
import { describeSeedOss } from "./families/dense/seed-oss.ts";
import { describeSmollm3 } from "./families/dense/smollm3.ts";
import { describeStablelm } from "./families/dense/stablelm.ts";
import { describeStarcoder2 } from "./families/dense/starcoder2.ts";
import { describeAfmoe } from "./families/experts/afmoe.ts";
import { describeDeepseekV2, describeDeepseekV3 } from "./families/experts/deepseek.ts";
import { describeDots1 } from "./families/experts/dots1.ts";
import { describeErnie45Moe } from "./families/experts/ernie4-5-moe.ts";
import { describeGlm4Moe } from "./families/experts/glm4-moe.ts";
import { describeGptOss } from "./families/experts/gpt-oss.ts";
import { describeGraniteMoe } from "./families/experts/granite-moe.ts";
import { describeHunyuanMoe } from "./families/experts/hunyuan-moe.ts";
import { describeLlama4 } from "./families/experts/llama4.ts";
import { describeMimoV2 } from "./families/experts/mimo-v2.ts";
import { describeMinimaxM2 } from "./families/experts/minimax-m2.ts";
import { describeMixtral } from "./families/experts/mixtral.ts";
import { describeOlmoe } from "./families/experts/olmoe.ts";
import { describePhimoe } from "./families/experts/phimoe.ts";
import { describeQwen2Moe } from "./families/experts/qwen2-moe.ts";
import { describeQwen3Moe } from "./families/experts/qwen3-moe.ts";
import { describeQwen3VlMoe } from "./families/experts/qwen3-vl-moe.ts";
import { describeBamba } from "./families/hybrid/bamba.ts";
import { describeFalconH1 } from "./families/hybrid/falcon-h1.ts";
import { describeGraniteMoeHybrid } from "./families/hybrid/granite-moe-hybrid.ts";
import { describeLfm2 } from "./families/hybrid/lfm2.ts";
import { describeNemotronH } from "./families/hybrid/nemotron-h.ts";
import { describeQwen35, describeQwen35Moe } from "./families/hybrid/qwen3-5.ts";
import { describeQwen3Next } from "./families/hybrid/qwen3-next.ts";
import type { DescribeFamily } from "./parts/decoder-parts.ts";

/** By `model_type`; multimodal models by that of their `text_config`. */
export const FAMILIES: Readonly<Record<string, DescribeFamily>> = {
  afmoe: describeAfmoe,
  apertus: describeApertus,
  arcee: describeArcee,
  bamba: describeBamba,
  cohere: describeCohere,
  cohere2: describeCohere2,
  deepseek_v2: describeDeepseekV2,
  deepseek_v3: describeDeepseekV3,
  dots1: describeDots1,
  ernie4_5: describeErnie45,
  ernie4_5_moe: describeErnie45Moe,
  exaone4: describeExaone4,
  falcon: describeFalcon,
  falcon_h1: describeFalconH1,
  gemma: describeGemma,
  gemma2: describeGemma2,
  gemma3_text: describeGemma3,
  gemma4_text: describeGemma4,
  glm: describeGlm,
  glm4: describeGlm4,
  glm4_moe: describeGlm4Moe,
  gpt_neox: describeGptNeox,
  gpt_oss: describeGptOss,
  granite: describeGranite,
  granitemoe: describeGraniteMoe,
  granitemoehybrid: describeGraniteMoeHybrid,
  helium: describeHelium,
  hunyuan_v1_dense: describeHunyuanDense,
  hunyuan_v1_moe: describeHunyuanMoe,
  lfm2: describeLfm2,
  llama: describeLlama,
  llama4_text: describeLlama4,
  mimo_v2_flash: describeMimoV2,
  minimax_m2: describeMinimaxM2,
  ministral3: describeMinistral3,
  mistral: describeMistral,
  mixtral: describeMixtral,
  nemotron: describeNemotron,
  nemotron_h: describeNemotronH,
  olmo2: describeOlmo2,
  olmo3: describeOlmo3,
  olmoe: describeOlmoe,
  phi: describePhi,
  phi3: describePhi3,
  phimoe: describePhimoe,
  qwen2: describeQwen2,
  qwen2_5_vl: describeQwen2Vl,
  qwen2_5_vl_text: describeQwen2Vl,
  qwen2_moe: describeQwen2Moe,
  qwen2_vl: describeQwen2Vl,
  qwen2_vl_text: describeQwen2Vl,
  qwen3: describeQwen3,
  qwen3_5_moe_text: describeQwen35Moe,
  qwen3_5_text: describeQwen35,
  qwen3_moe: describeQwen3Moe,
  qwen3_next: describeQwen3Next,
  qwen3_vl_moe_text: describeQwen3VlMoe,
  qwen3_vl_text: describeQwen3Vl,
  seed_oss: describeSeedOss,
  smollm3: describeSmollm3,
  stablelm: describeStablelm,
  starcoder2: describeStarcoder2,
};

/** Types of models that can be calibrated, for messages and documentation. */
export const FAMILY_NAMES: readonly string[] = Object.keys(FAMILIES);
