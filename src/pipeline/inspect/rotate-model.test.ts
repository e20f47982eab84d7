import { describe, expect, it } from "vitest";
import { readConfig } from "../../plan/checkpoint/read-config.ts";
import { loadCheckpoint } from "../../testing/fixtures/load-checkpoint.ts";
import type { OpenModel } from "./open-model.ts";
import { rotateModel } from "./rotate-model.ts";

/** As much of an inspected fixture as a rotation sees. */
function inspected(name: string, fields: object = {}): OpenModel {
  const { config, tensors } = loadCheckpoint(name);
  const text = JSON.stringify({ ...config, hidden_act: "silu", ...fields }).replace(
    '"rope_theta":',
    '"was":1.0,"rope_theta":',
  );
  return { config: readConfig(new TextEncoder().encode(text)), tensors } as unknown as OpenModel;
}

describe("a rotated model", () => {
  const options = { rotations: ["R1", "R2"], transform_type: "random-hadamard" } as const;

  it("has a head of its own where the embedding was its table, and says so in config.json", () => {
    const model = inspected("llama");
    const { tensors, config } = rotateModel(model, options);
    const [table, head] = ["model.embed_tokens.weight", "lm_head.weight"].map((name) =>
      tensors.find((tensor) => tensor.name === name),
    );
    expect(head).toEqual({ ...table, name: "lm_head.weight", file: "rotated:lm_head.weight" });
    expect(config.raw["tie_word_embeddings"]).toBe(false);
    expect(config.text).toContain('"tie_word_embeddings":false');
    expect(config.text).toContain('"was":1.0');
    expect(tensors).toHaveLength(model.tensors.length + 1);
  });

  it("rotates a head that lies beside the embedding it may equal, and says that they differ", () => {
    const model = inspected("qwen3", { tie_word_embeddings: true });
    const { tensors, config } = rotateModel(model, options);
    expect(config.raw["tie_word_embeddings"]).toBe(false);
    const heads = tensors.filter(({ name }) => name === "lm_head.weight");
    expect(heads.map(({ file }) => file)).toEqual(["rotated:lm_head.weight"]);
  });

  it("keeps names, shapes and dtypes, and is made once", () => {
    const model = inspected("qwen3");
    const { tensors, config } = rotateModel(model, options);
    const plain = ({ name, shape, dtype }: { name: string; shape: readonly number[]; dtype: string }) => [
      name,
      shape,
      dtype,
    ];
    expect(tensors.map(plain)).toEqual(model.tensors.map(plain));
    expect(config).toBe(model.config);
    expect(rotateModel(model, { ...options }).tensors).toBe(tensors);
  });

  it("is the model itself where nothing is rotated", () => {
    const model = inspected("llama");
    expect(rotateModel(model, undefined)).toBe(model);
  });
});
