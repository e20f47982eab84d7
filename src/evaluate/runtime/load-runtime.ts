// onnxruntime-web, fetched when it is first needed: 17 MB of WebAssembly where the browser can suspend it (JSPI), else 27.

import type * as Ort from "onnxruntime-web";

export type Runtime = typeof Ort;

let loaded: Promise<Runtime> | null = null;

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
  return runtime;
}
