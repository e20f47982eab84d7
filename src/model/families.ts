// The families of models whose decoders are known, each a file of `families`.

import type { DescribeFamily } from "./parts/decoder-parts.ts";
import { describeAfmoe } from "./families/afmoe.ts";
import { describeApertus } from "./families/apertus.ts";
import { describeArcee } from "./families/arcee.ts";
import { describeBamba } from "./families/bamba.ts";
import { describeCohere } from "./families/cohere.ts";
import { describeCohere2 } from "./families/cohere2.ts";
import { describeDeepseekV2, describeDeepseekV3 } from "./families/deepseek.ts";
import { describeDots1 } from "./families/dots1.ts";
import { describeErnie45 } from "./families/ernie4-5.ts";
import { describeErnie45Moe } from "./families/ernie4-5-moe.ts";
import { describeExaone4 } from "./families/exaone4.ts";
import { describeFalcon } from "./families/falcon.ts";
import { describeFalconH1 } from "./families/falcon-h1.ts";
import { describeGemma } from "./families/gemma.ts";
import { describeGemma2 } from "./families/gemma2.ts";
import { describeGemma3 } from "./families/gemma3.ts";
import { describeGemma4 } from "./families/gemma4.ts";
import { describeGlm, describeGlm4 } from "./families/glm.ts";
import { describeGlm4Moe } from "./families/glm4-moe.ts";
import { describeGptNeox } from "./families/gpt-neox.ts";
import { describeGptOss } from "./families/gpt-oss.ts";
import { describeGranite } from "./families/granite.ts";
import { describeGraniteMoe } from "./families/granite-moe.ts";
import { describeGraniteMoeHybrid } from "./families/granite-moe-hybrid.ts";
import { describeHelium } from "./families/helium.ts";
import { describeHunyuanDense } from "./families/hunyuan-dense.ts";
import { describeHunyuanMoe } from "./families/hunyuan-moe.ts";
import { describeLfm2 } from "./families/lfm2.ts";
import { describeLlama } from "./families/llama.ts";
import { describeLlama4 } from "./families/llama4.ts";
import { describeMimoV2 } from "./families/mimo-v2.ts";
import { describeMinimaxM2 } from "./families/minimax-m2.ts";
import { describeMinistral3 } from "./families/ministral3.ts";
import { describeMistral } from "./families/mistral.ts";
import { describeMixtral } from "./families/mixtral.ts";
import { describeNemotron } from "./families/nemotron.ts";
import { describeNemotronH } from "./families/nemotron-h.ts";
import { describeOlmo2 } from "./families/olmo2.ts";
import { describeOlmo3 } from "./families/olmo3.ts";
import { describeOlmoe } from "./families/olmoe.ts";
import { describePhi } from "./families/phi.ts";
import { describePhi3 } from "./families/phi3.ts";
import { describePhimoe } from "./families/phimoe.ts";
import { describeQwen2 } from "./families/qwen2.ts";
import { describeQwen2Moe } from "./families/qwen2-moe.ts";
import { describeQwen3 } from "./families/qwen3.ts";
import { describeQwen35, describeQwen35Moe } from "./families/qwen3-5.ts";
import { describeQwen3Moe } from "./families/qwen3-moe.ts";
import { describeQwen3Next } from "./families/qwen3-next.ts";
import { describeSeedOss } from "./families/seed-oss.ts";
import { describeSmollm3 } from "./families/smollm3.ts";
import { describeStablelm } from "./families/stablelm.ts";
import { describeStarcoder2 } from "./families/starcoder2.ts";
import { describeQwen2Vl, describeQwen3Vl, describeQwen3VlMoe } from "./families/qwen-vl.ts";

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
