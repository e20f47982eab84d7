import { expect, it } from "vitest";
import type { Runtime } from "./load-runtime.ts";
import type { Sessions } from "./sessions.ts";
import { createTensorFactory } from "./tensors.ts";

/** As onnxruntime-web's, as far as values go. */
class Tensor {
  readonly values: readonly unknown[];

  constructor(...values: readonly unknown[]) {
    this.values = values;
  }
}

it("a weight that comes in runs into memory is whole, whatever they come as", async () => {
  let loaded: Runtime | null = null;
  const runtime = () => {
    if (loaded) return loaded;
    throw new Error("The runtime is not there yet.");
  };
  const factory = createTensorFactory(runtime, null, {} as Sessions);
  const { tensors, settle } = await factory.reserve([
    { label: "head", shape: { dims: [2, 2], dataType: "float32" } },
  ]);
  await tensors[0]?.write(Float32Array.of(1, 2), 0);
  await tensors[0]?.write(Uint16Array.of(0x40_40, 0x40_80), 8);
  await settle();
  loaded = { Tensor } as unknown as Runtime;
  expect(tensors[0]?.tensor()).toEqual(new Tensor("float32", Float32Array.of(1, 2, 3, 4), [2, 2]));
});
