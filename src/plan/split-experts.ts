// Experts that a checkpoint holds in one tensor, as the Linears that loaders of quantized models want: an expert's rows
// lie together, so each Linear is a range of the tensor's bytes and nothing is copied (LLM Compressor's model_free_ptq).

import type { SourceTensor } from "./read-headers.ts";

const FUSED = /^(.*\.experts)\.(gate_up_proj|down_proj)$/;

/** Names of an expert's Linears. */
const USUAL = { gateUp: ["gate_proj", "up_proj"], down: ["down_proj"] };
const MIXTRAL = { gateUp: ["w1", "w3"], down: ["w2"] };

/**
 * Replaces `<experts>.gate_up_proj` (experts, 2 · inner, hidden) and `<experts>.down_proj` (experts, hidden, inner) by
 * `<experts>.<i>.gate_proj.weight`, `.up_proj.weight` and `.down_proj.weight`. Tensors of another layout (inputs before
 * outputs, as in Llama 4) stay as they are: their Linears are not ranges.
 */
export function splitExperts(tensors: readonly SourceTensor[]): SourceTensor[] {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return tensors.flatMap((tensor) => {
    const [, prefix = "", kind] = FUSED.exec(tensor.name) ?? [];
    const gateUp = byName.get(`${prefix}.gate_up_proj`);
    const down = byName.get(`${prefix}.down_proj`);
    if (!kind || !gateUp || !down || !belongTogether(gateUp, down)) return [tensor];
    const names = prefix.endsWith("block_sparse_moe.experts") ? MIXTRAL : USUAL;
    return expertParts(tensor, prefix, names[kind === "down_proj" ? "down" : "gateUp"]);
  });
}

function belongTogether({ shape: gateUp }: SourceTensor, { shape: down }: SourceTensor): boolean {
  const [experts, rows = 0, hidden] = gateUp;
  if (gateUp.length !== 3 || down.length !== 3 || rows === 0) return false;
  const [, downRows = 0, inner = 0] = down;
  return down[0] === experts && downRows === hidden && rows === 2 * inner;
}

function expertParts(tensor: SourceTensor, prefix: string, parts: readonly string[]): SourceTensor[] {
  const [experts = 0, rows = 0, columns = 0] = tensor.shape;
  const partRows = rows / parts.length;
  const bytes = (tensor.end - tensor.start) / experts / parts.length;
  return Array.from({ length: experts }, (_, expert) =>
    parts.map((part, index) => {
      const start = tensor.start + (expert * parts.length + index) * bytes;
      const name = `${prefix}.${expert}.${part}.weight`;
      return { ...tensor, name, shape: [partRows, columns], start, end: start + bytes };
    }),
  ).flat();
}
