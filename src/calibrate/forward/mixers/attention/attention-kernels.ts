import { kernel } from "../../../../gpu/kernel.ts";
import { struct } from "../../../../gpu/struct.ts";
import directCode from "./attention-direct.wgsl?raw";
import headsCode from "./attention-heads.wgsl?raw";
import code from "./attention.wgsl?raw";

const FIELDS = {
  heads: "u32",
  kv_heads: "u32",
  stride: "u32",
  keys: "u32",
  key_stride: "u32",
  shared_keys: "u32",
  values: "u32",
  value_stride: "u32",
  output: "u32",
  parts: "u32",
  first: "u32",
  end: "u32",
  window: "u32",
  chunk: "u32",
  temperature_every: "u32",
  temperature_offset: "u32",
  temperature_slope: "f32",
  scale: "f32",
  value_scale: "f32",
  soft_cap: "f32",
} as const;
const BINDINGS = { tiles: "read", sinks: "read", qkv: "read_write" } as const;
const FORM_CONSTANTS = ["HEAD_DIM", "VALUE_DIM", "OWN_DIM", "SINKS"] as const;

/** Query rows, keys and values go through workgroup memory in tiles. */
export const attentionKernel = kernel({
  name: "forward.attention",
  code: [headsCode, code],
  params: struct(FIELDS),
  bindings: BINDINGS,
  constants: [...FORM_CONSTANTS, "ROW_GROUPS", "COLUMN_GROUPS", "DIMS", "KEYS", "OUT_VECS", "ARENA"],
});

/** A row an invocation, without workgroup memory: for adapters that are a processor. The same but for the order of sums. */
export const directAttentionKernel = kernel({
  name: "forward.attention-direct",
  code: [headsCode, directCode],
  params: struct(FIELDS),
  bindings: BINDINGS,
  constants: [...FORM_CONSTANTS, "PART_VECS"],
});
