import "../src/disposal.ts";
import { runBenchmarks } from "./run-benchmarks.ts";
import { formatResult } from "./report/format-result.ts";
import type { BenchmarkAnswer, BenchmarkRequest } from "./worker-messages.ts";

globalThis.addEventListener("message", ({ data, ports: [port] }: MessageEvent<BenchmarkRequest>) => {
  const answer = (message: BenchmarkAnswer) => port?.postMessage(message);
  void runBenchmarks(data, (text) => answer({ kind: "line", text })).then(
    (result) => answer({ kind: "result", result, text: formatResult(result) }),
    (error: unknown) =>
      answer({ kind: "failure", message: error instanceof Error ? error.message : String(error) }),
  );
});
