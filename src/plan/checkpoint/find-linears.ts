// Which tensors are weights of Linear modules: by the architecture's classes where the model's type is known
// (src/model/linear-classes.ts), else by the names that model code uses; what is doubtful stays as it is, because a wrongly
// quantized embedding or router gate is silent damage (LLM Compressor's model_free_ptq quantizes both unless told otherwise).

import { isFloatDtype } from "../../formats/numbers/dtype.ts";
import type { TensorSpec } from "../../formats/safetensors/safetensors.ts";
import { type LinearClasses, NAMES_ALONE } from "../../model/linear-classes.ts";

/** Last parts of module names that hold a table or a norm, not a Linear. */
const NOT_LINEAR =
  /(^|[._])(embed\w*|embeddings?|wte|wpe|word_embeddings?|position_embeddings?|tok_embeddings|relative_attention_bias|\w*norm\d*|ln_\w+|ln\d*|layernorm|conv\d*d?|conv\w*|patch_embed\w*|rotary_emb)$/i;
/** Routers choose experts; their logits must not move. */
const ROUTER = /(^|\.)(router|gate|gate\.wg|shared_expert_gate|routers?\.\w+|switch)$/i;
const TABLE_INSIDE = /(^|\.)(patch_embed\w*|embeddings?|embed_tokens|conv\w*)\./i;

export interface LinearModule {
  /** Module name, without ".weight". */
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
}

/** A weight of two dimensions that stays as it is: it is no Linear's, or has no numbers, or none that can be quantized. */
export interface PlainWeight {
  /** Module name, without ".weight"; the whole name of a tensor that ends in something else. */
  readonly name: string;
  readonly reason: "embedding" | "turned" | "converted" | "other" | "dtype" | "empty" | "unknown";
  /** True if names say as well that no loader takes it for a Linear: `ignore` need not list it. */
  readonly certain: boolean;
}

export type FoundWeight =
  | { readonly kind: "linear"; readonly linear: LinearModule }
  | { readonly kind: "plain"; readonly plain: PlainWeight };

/** The Linear whose weight this tensor is, or null for everything else. */
export function linearOf(tensor: TensorSpec, classes: LinearClasses = NAMES_ALONE): LinearModule | null {
  const found = weightOf(tensor, classes);
  return found?.kind === "linear" ? found.linear : null;
}

/** What a tensor is if it is a weight of two dimensions; null for everything else. */
export function weightOf({ name, shape, dtype }: TensorSpec, classes: LinearClasses): FoundWeight | null {
  const [rows = 0, columns = 0] = shape;
  if (shape.length !== 2) return null;
  const module = name.endsWith(".weight") ? name.slice(0, -".weight".length) : name;
  const byName = !NOT_LINEAR.test(module) && !TABLE_INSIDE.test(module);
  const known = classes.classOf(module);
  // PyTorch's attention holds q, k and v in an in_proj_weight, of which loading makes Linears.
  if (module === name && known !== "converted") return null;
  const plain = (reason: PlainWeight["reason"], certain = false): FoundWeight => ({
    kind: "plain",
    plain: { name: module, reason, certain },
  });
  if (known === "embedding") return plain("embedding", !byName);
  if (known === null && (classes.complete || !byName)) return plain("unknown");
  if (known !== null && known !== "linear") return plain(known);
  if (!isFloatDtype(dtype)) return plain("dtype");
  if (rows === 0 || columns === 0) return plain("empty"); // loaders make a module of it all the same
  return { kind: "linear", linear: { name: module, rows, columns } };
}

/** Encoders of images and sound, and what joins them to the language model: small, sensitive, and in no server's kernels. */
const TOWER =
  /(^|\.)(vision_\w+|visual|vit|image_encoder|audio_\w+|speech_encoder|multi_modal_projector|mm_projector|connector|aligner|embed_vision|embed_audio)\./i;

/** Name of the tower that a module outside of the language model is in ("vision_tower"), or null. */
export function towerOf(module: string): string | null {
  return TOWER.exec(module)?.[2] ?? null;
}

/** True for Linears outside of the language model, which stay as they are unless a recipe names them. */
export function isInTower(module: string): boolean {
  return towerOf(module) !== null;
}

/** True for the small Linear that routes tokens to experts: listed in ignore, never quantized. */
export function isRouter(module: string): boolean {
  return ROUTER.test(module);
}
