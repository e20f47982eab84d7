// SmoothQuant as a rewriter: from the range of each channel of what a norm gives out, and the largest weights that read it.

import { invariant } from "../../errors.ts";
import { foldsOf, reportOf, type Rewriter, type Rewritten } from "../rewriter.ts";
import { raiseColumnMagnitudes, smoothingScales } from "./smoothing-scales.ts";

export const smoothQuantRewriter: Rewriter = {
  name: "SmoothQuantModifier",
  hessians: () => [],
  blocks: () => null,
  glance: () => null,
  work: () => 0,
  bytes: () => 0,
  prepare: () => {},
  async rewrite(run) {
    const { modifier } = run;
    invariant(modifier.name === "SmoothQuantModifier", "its rewriter is asked for it");
    await run.eachPass(async () => {});
    const rewritten: Rewritten[] = [];
    for (const mapping of run.mappings) {
      await run.checkpoint();
      const { low, high, tokens } = await run.channels(mapping);
      // Experts that no token reached tell nothing.
      if (tokens === 0) continue;
      const weights = new Float32Array(mapping.columns);
      for (const linear of mapping.balance) {
        const { dtype, bytes } = run.weight(linear);
        raiseColumnMagnitudes(dtype, bytes, weights);
      }
      const [first] = mapping.tensors;
      invariant(first, "a mapping divides a tensor");
      const dtype = run.dtypeOf(first.tensor);
      const scales = smoothingScales({ dtype, low, high, weights }, modifier.settings);
      rewritten.push({
        folds: foldsOf(mapping, scales),
        report: reportOf(modifier.name, mapping, scales),
      });
    }
    return rewritten;
  },
};
