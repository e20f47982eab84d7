// The benchmark page: a door for scripts, and buttons for people. What it measures is in report/result.ts.

import type { BenchmarkResult } from "./report/result.ts";
import type { BenchmarkAnswer, BenchmarkRequest } from "./worker-messages.ts";

const output = document.querySelector("output");

/** Measures in a worker of its own, as jobs run in one, and says each line as it comes. */
async function runBenchmark(options: BenchmarkRequest): Promise<{ result: BenchmarkResult; text: string }> {
  const worker = new Worker(new URL("./bench-worker.ts", import.meta.url), { type: "module", name: "bench" });
  const { port1, port2 } = new MessageChannel();
  try {
    return await new Promise((resolve, reject) => {
      worker.addEventListener("error", ({ message }) => reject(new Error(message)));
      port1.addEventListener("message", ({ data }: MessageEvent<BenchmarkAnswer>) => {
        if (data.kind === "line") say(data.text);
        else if (data.kind === "result") resolve(data);
        else reject(new Error(data.message));
      });
      port1.start();
      worker.postMessage(options, [port2]);
    });
  } finally {
    worker.terminate();
    port1.close();
  }
}

function say(line: string): void {
  console.log(line);
  if (output) output.value += `${line}\n`;
}

globalThis.layerpressBench = async (options = {}) => (await runBenchmark(options)).result;

async function showRun(small: boolean): Promise<void> {
  if (!output) return;
  output.value = "";
  try {
    const { text } = await runBenchmark({ small });
    output.value = text;
  } catch (error) {
    output.value += error instanceof Error ? error.message : String(error);
  }
}

for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", () => {
    void showRun(button.name === "small");
  });
}
