// npm run check:types -- --transformers PYTHON [--results FILE] [--seconds N] [TYPE…]: a tiny model of every type that transformers
// can build, compressed and opened there. PYTHON's environment has torch, transformers, compressed-tensors, accelerate, timm and
// scipy. A second run goes on with the results of the first; the compressor is bundled first, and needs no browser.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ensureDependencies, readTypeScript } from "./prepare.mjs";

const USAGE = "npm run check:types -- --transformers PYTHON [--results FILE] [--seconds N] [TYPE…]";

ensureDependencies();
await readTypeScript();
const { endInWords } = await import("./cli/end-in-words.ts");
const { parseWords } = await import("./cli/arguments/parse-words.ts");
const root = join(import.meta.dirname, "..");
const cache = join(root, "node_modules/.cache/types");
process.exitCode = await endInWords(USAGE, async () => {
  const { values, positionals } = parseWords(process.argv.slice(2), {
    transformers: { type: "string", default: "python3" },
    results: { type: "string", default: join(root, "node_modules/.cache/types.jsonl") },
    seconds: { type: "string", default: "100000" },
  });
  await bundleCompressor();
  const script = join(import.meta.dirname, "consumers/check_types.py");
  const compressor = join(cache, "compress-folders.js");
  const { status } = spawnSync(
    values.transformers,
    [script, compressor, values.results, values.seconds, ...positionals],
    { stdio: "inherit" },
  );
  return status ?? 1;
});

async function bundleCompressor() {
  const { build } = await import("vite");
  await build({
    root,
    configFile: false,
    logLevel: "warn",
    publicDir: false,
    define: { LAYERPRESS_COMMIT: '"unknown"', LAYERPRESS_VERSION: '"0"' },
    build: {
      ssr: "src/testing/jobs/compress-folders.ts",
      outDir: cache,
      emptyOutDir: true,
      target: "node20",
      minify: false,
    },
  });
}
