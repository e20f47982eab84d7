// onnxruntime-web, fetched when it is first needed: 17 MB of WebAssembly where the browser can suspend it (JSPI), else 27.

import type * as Ort from "onnxruntime-web";
import { createGraph } from "../graph/onnx-graph.ts";

export type Runtime = typeof Ort;

let loaded: Promise<Runtime> | null = null;

/** The runtime, compiled. */
export async function loadRuntime(): Promise<Runtime> {
  loaded ??= importRuntime();
  return await loaded;
}

async function importRuntime(): Promise<Runtime> {
  const canSuspend = "Suspending" in WebAssembly;
  const runtime = await (canSuspend ? import("onnxruntime-web/jspi") : import("onnxruntime-web/webgpu"));
  // Threads need cross-origin isolation, which static hosts do not give, and workers of its own making.
  runtime.env.wasm.numThreads = 1;
  runtime.env.logLevel = "error";
  await compile(runtime);
  return runtime;
}

/** The WebAssembly is fetched and compiled for the first session: a small one, while the GPU is opened. */
async function compile(runtime: Runtime): Promise<void> {
  const graph = createGraph("nothing");
  graph.output("same", "float32", [1], graph.input("value", "float32", [1]));
  const session = await runtime.InferenceSession.create(graph.encode(), { executionProviders: ["wasm"] });
  await session.release();
}
