// Starts the model server for tests that run inside a browser and cannot start one: its addresses are injected.

import type { TestProject } from "vitest/node";
import { startModelServer } from "./model-server.ts";
import { memoryModel } from "./served-model.ts";
import { syntheticModel } from "./synthetic-model.ts";

export interface InjectedServer {
  readonly hubUrl: string;
  readonly filesUrl: string;
  readonly token: string;
}

declare module "vitest" {
  export interface ProvidedContext {
    modelServer: InjectedServer;
  }
}

const TOKEN = "hf_browser";
/** Two shards of 40 MiB: several chunks each. */
const LARGE = { layers: 2, hidden: 1024, intermediate: 4096, heads: 8, kvHeads: 8, vocab: 2048 } as const;

/** Models by how they are served; the browser tests of src/source name them. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const large = syntheticModel({ ...LARGE, dtype: "BF16", shards: 2 });
  const small = memoryModel({ "config.json": "{}", "model.safetensors": new Uint8Array(200_000).fill(7) });
  const server = await startModelServer({
    token: TOKEN,
    models: {
      "test/large": { files: large, redirect: true },
      "test/gated": { files: small, gated: true },
      "test/unexposed": { files: small },
      "test/closed": { files: small },
      "test/circle": { files: small },
      "test/packed": { files: small },
      "test/whole": { files: small },
      "test/bare-errors": { files: small },
    },
  });
  server.faults.push(
    { path: "/test/unexposed/", fault: { kind: "unexposed" } },
    { path: "/test/closed/", fault: { kind: "no-cors" } },
    { path: "/test/circle/", fault: { kind: "redirect-circle" } },
    { path: "/test/packed/model.safetensors", fault: { kind: "gzip" } },
    { path: "/test/whole/", fault: { kind: "ignore-range" } },
    { path: "/test/bare-errors/tokenizer.json", fault: { kind: "no-cors" } },
  );
  project.provide("modelServer", { hubUrl: server.hubUrl, filesUrl: server.filesUrl, token: TOKEN });
  return server.close;
}
