// onnxruntime-web's sessions: one for each graph, byte for byte.

import type { InferenceSession, Tensor } from "onnxruntime-web";
import { joinedLines, UnsupportedModelError } from "../../errors.ts";
import type { OnnxGraph } from "../graph/onnx-graph.ts";
import type { Runtime } from "./load-runtime.ts";
import type { MeasuredDevice } from "./measured-device.ts";

export type Feeds = Readonly<Record<string, Tensor>>;
export type Fetches = Readonly<Record<string, Tensor | null>>;

/** How a session runs: captured ones record the GPU's commands and play them again. */
export type SessionKind = "plain" | "outputs on the GPU" | "captured";

async function createSession(
  runtime: Runtime,
  bytes: Uint8Array,
  gpu: MeasuredDevice | null,
  kind: SessionKind,
) {
  try {
    return await runtime.InferenceSession.create(bytes, {
      ...(kind === "captured" ? { enableGraphCapture: true } : {}),
      ...(kind === "plain" ? {} : { preferredOutputLocation: "gpu-buffer" as const }),
      executionProviders: gpu
        ? [{ name: "webgpu", device: gpu.device, storageBufferCacheMode: "lazyRelease" }]
        : ["wasm"],
    });
  } catch (cause) {
    throw new UnsupportedModelError(
      `onnxruntime-web cannot run this model: ${joinedLines(cause instanceof Error ? cause.message : String(cause))}`,
      { cause },
    );
  }
}

/** Runs with those feeds that the graph declares: one without rotary tables or attention declares fewer. */
export async function runSession(
  session: InferenceSession,
  feeds: Feeds,
  fetches?: Fetches,
): Promise<Record<string, Tensor>> {
  const known = new Set(session.inputNames);
  const wanted = Object.fromEntries(Object.entries(feeds).filter(([name]) => known.has(name)));
  const outputs = await (fetches ? session.run(wanted, fetches) : session.run(wanted));
  return { ...outputs };
}

export interface Sessions extends AsyncDisposable {
  /** The session of a graph; captured ones are made anew, because what they record is theirs alone. */
  open(graph: OnnxGraph, kind: SessionKind): Promise<InferenceSession>;
}

/** @param loading the runtime, on its way */
export function createSessions(loading: Promise<Runtime>, gpu: MeasuredDevice | null): Sessions {
  const sessions = new Map<string, Promise<InferenceSession>>();
  return {
    async open(graph, kind) {
      const bytes = graph.encode();
      const hash = await crypto.subtle.digest("SHA-256", bytes);
      const own = kind === "captured" ? String(sessions.size) : "";
      const key = kind + own + String.fromCharCode(...new Uint8Array(hash));
      const runtime = await loading;
      const session = sessions.get(key) ?? createSession(runtime, bytes, gpu, kind);
      sessions.set(key, session);
      return await session;
    },
    async [Symbol.asyncDispose]() {
      const made = await Promise.allSettled(sessions.values());
      for (const session of made) if (session.status === "fulfilled") await session.value.release();
    },
  };
}
