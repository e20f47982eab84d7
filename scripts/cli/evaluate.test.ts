import { expect, it } from "vitest";
import type { QualityReport } from "../../src/api/evaluator-api.ts";
import { withIdleBudget } from "./evaluate.ts";

const asked = { gpuBudgetBytes: 2 * 1024 ** 3 };
const report = (provider: "webgpu" | "wasm") =>
  ({ provider, notes: ["A note."] }) as unknown as QualityReport;

it("a GPU budget that nothing was done for is told, since only a try shows what computes", () => {
  const { notes } = withIdleBudget(asked, report("wasm"));
  const told =
    "--gpu-budget 2 GiB changed nothing: the browser offers no GPU here, and the processor computed.";
  expect(notes).toEqual(["A note.", told]);
  expect(withIdleBudget(asked, report("webgpu")).notes).toEqual(["A note."]);
  expect(withIdleBudget({ gpuBudgetBytes: null }, report("wasm")).notes).toEqual(["A note."]);
});
