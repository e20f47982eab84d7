// Strassen's products while samples are propagated, where the plan has no room for them at other times.

import { invariant } from "../../../errors.ts";
import { openTogether } from "../../../disposal.ts";
import { lendStrassen } from "../../../gpu/matmul/strassen/open-strassen.ts";
import type { SequentialServices } from "../services.ts";

/** Opens them; the workspace is one whose MLPs take as many tokens at once as the plan says. Disposing gives all of it back. */
export async function lendToPropagate({
  gpu,
  plan,
  workspace,
}: Pick<SequentialServices, "gpu" | "plan" | "workspace">): Promise<
  Disposable & Pick<SequentialServices, "workspace">
> {
  return await openTogether(async (lent) => {
    if (!gpu.tuning.lentStrassen) return { workspace };
    lent.use(await lendStrassen(gpu));
    invariant(plan.strassen, "what is lent is planned");
    const { scratch: wide } = plan.strassen;
    if (!wide) return { workspace };
    const { bytes, mlpTokens } = wide;
    const scratch = lent.use(await gpu.memory.allocate({ label: "scratch to propagate", bytes }));
    return { workspace: { ...workspace, scratch, plan: { ...workspace.plan, mlpTokens } } };
  });
}
