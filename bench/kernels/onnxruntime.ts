// onnxruntime-web's MatMul on the same device and in the same run, to compare with. Its submits are its own, so only the
// clock on the wall sees them.

import type { InferenceSession } from "onnxruntime-web";
import { invariant } from "../../src/errors.ts";
import { createGraph } from "../../src/evaluate/graph/onnx-graph.ts";
import type { Benchmark } from "../benchmark.ts";
import { layerLinears, shapeText, type Sizes } from "../model-shapes.ts";

interface ProductShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** Products of one run: waiting for the GPU once for several keeps the wait out of the figure. */
const PRODUCTS = 4;

export function onnxruntimeBenchmarks({ models, tokens, ceiling }: Sizes): Benchmark[] {
  const linears = models.flatMap((model) =>
    layerLinears(model).map(({ name, rows, columns }) =>
      matMul(`${model.name}/${name}`, { m: tokens, n: rows, k: columns }),
    ),
  );
  return [matMul("ceiling", ceiling), ...linears];
}

/** (m, k) · (k, n), which is the faster of the ways that it takes operands. */
function matMul(name: string, { m, n, k }: ProductShape): Benchmark {
  return {
    name: `onnxruntime.matmul/${name}`,
    shape: shapeText(m, n, k),
    unit: "flop",
    work: PRODUCTS * 2 * m * n * k,
    kind: "foreign",
    async prepare({ gpu, allocateNoise }, lifetime) {
      const { Tensor } = await import("onnxruntime-web/jspi");
      const a = lifetime.use(await allocateNoise({ label: "a", bytes: m * k * 4 }, "F32"));
      const b = lifetime.use(await allocateNoise({ label: "b", bytes: k * n * 4 }, "F32"));
      const c = lifetime.use(await gpu.memory.allocate({ label: "c", bytes: m * n * 4 }));
      const session = await openSession(gpu.device, { m, n, k });
      lifetime.use({ [Symbol.dispose]: () => void session.release() });
      const tensor = (buffer: GPUBuffer, dims: readonly number[]) =>
        Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims });
      const feeds = { a: tensor(a.buffer, [m, k]), b: tensor(b.buffer, [k, n]) };
      const fetches = { c: tensor(c.buffer, [m, n]) };
      return {
        async run() {
          for (let product = 0; product < PRODUCTS; product++) await session.run(feeds, fetches);
          await gpu.device.queue.onSubmittedWorkDone();
        },
      };
    },
  };
}

async function openSession(device: GPUDevice, { m, n, k }: ProductShape): Promise<InferenceSession> {
  const { env, InferenceSession: Session } = await import("onnxruntime-web/jspi");
  invariant(env.wasm, "onnxruntime-web has its WebAssembly settings");
  // Threads would need a page that is cross-origin isolated.
  env.wasm.numThreads = 1;
  const graph = createGraph("matmul");
  const a = graph.input("a", "float32", [m, k]);
  const b = graph.input("b", "float32", [k, n]);
  graph.output("c", "float32", [m, n], graph.node("MatMul", [a, b]));
  return await Session.create(graph.encode(), { executionProviders: [{ name: "webgpu", device }] });
}
