import { invariant } from "../../errors.ts";
import type { LayerDescription, TokenBlock } from "../../model/decoder-description.ts";
import { activate } from "./activate/activate.ts";
import { copyColumns } from "./copy-columns/copy-columns.ts";
import {
  applyLinear,
  type ForwardPass,
  hiddenMatrix,
  type HiddenRows,
  isWanted,
  joinResidual,
} from "./forward-pass.ts";
import { tokenRuns } from "./mlp-block.ts";

/** Values of a token that a token block writes to the scratch buffer: its gate, and what the token is given. */
export function tokenBlockColumns({ gate }: TokenBlock): number {
  return 2 * gate.rows;
}

/** hidden += norm(projection(activation(gate hidden) · input)), in runs of as many tokens as the workspace has room for. */
export async function tokenBlock(
  pass: ForwardPass,
  layer: LayerDescription,
  block: TokenBlock,
  states: HiddenRows,
): Promise<void> {
  const { gpu, batch, workspace, hooks, tokenTable } = pass;
  const { gate, projection, norm } = block;
  const size = gate.rows;
  invariant(tokenTable && batch.tokenRows, "a token block is given its tokens' inputs");
  for (const run of tokenRuns(pass, states)) {
    const input = hiddenMatrix(run);
    await hooks?.onInput?.([gate.module], input);
    if (!isWanted(pass, [projection])) continue;
    const inner = {
      buffer: workspace.scratch,
      rows: run.rows,
      columns: size,
      stride: tokenBlockColumns(block),
    };
    await applyLinear(pass, gate, input, inner);
    const given = { buffer: tokenTable, stride: size };
    const index = { buffer: batch.tokenRows, first: run.firstRow };
    await copyColumns(gpu, given, { ...inner, offset: size }, index);
    await activate(gpu, block.activation, inner, size);
    await hooks?.onInput?.([projection.module], inner);
    if (pass.stopAtLastInput) continue;
    await joinResidual(pass, layer, { linear: projection, norm }, inner, run);
  }
}
