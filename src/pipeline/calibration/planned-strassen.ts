import type { StrassenPlace } from "../../gpu/matmul/open-strassen.ts";

/** Where a job has Strassen's products. */
export interface PlannedStrassen extends StrassenPlace {
  /**
   * What MLPs work in beside the workspace's own while samples are propagated, so that their products are as large as a batch; null where
   * that is large enough, or products have no room of their own.
   */
  readonly scratch: { readonly bytes: number; readonly mlpTokens: number } | null;
}
