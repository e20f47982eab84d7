import { expect, it } from "vitest";
import { UsageError } from "./argument-readers.ts";
import { readEvaluateArguments } from "./evaluate-arguments.ts";

function refusal(...args: string[]): string {
  try {
    readEvaluateArguments(args);
    return "taken";
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
}

it("an option that nothing would be done for is refused", () => {
  expect(refusal("owner/name", "--tokens", "9")).toMatch(/--tokens .* needs --prompt/);
  expect(refusal("owner/name", "--chat")).toMatch(/--chat .* needs --prompt/);
  expect(refusal("owner/name", "--prompt", "Once", "--tokens", "9", "--chat")).toBe("taken");
  const folder = "e2e/fixtures/golden/source";
  expect(refusal(folder, "--against", folder, "--token", "hf_x")).toMatch(
    /--token changes nothing for folders/,
  );
  expect(refusal(folder, "--against", "owner/name", "--token", "hf_x")).toBe("taken");
  expect(refusal(folder, "--provider", "wasm", "--gpu-budget", "2GiB")).toMatch(
    /--gpu-budget changes nothing with --provider wasm/,
  );
  expect(refusal(folder, "--provider", "wasm")).toBe("taken");
  expect(refusal(folder, "--provider", "auto", "--gpu-budget", "2GiB")).toBe("taken");
});

it("a GPU budget is an amount, and not too little for anything", () => {
  expect(refusal("owner/name", "--gpu-budget", "much")).toMatch(/not an amount such as 2GiB/);
  expect(refusal("owner/name", "--gpu-budget", "1MiB")).toMatch(/32 MiB is the least/);
  expect(readEvaluateArguments(["owner/name"])?.gpuBudgetBytes).toBeNull();
  expect(readEvaluateArguments(["owner/name", "--gpu-budget", "2GiB"])?.gpuBudgetBytes).toBe(2 * 1024 ** 3);
});

it("windows are of two tokens at least", () => {
  expect(refusal("owner/name", "--max-seq-length", "1")).toMatch(/leaves nothing to predict/);
  expect(refusal("owner/name", "--max-seq-length", "0")).toMatch(/is not a whole number above 0/);
  expect(refusal("owner/name", "--max-seq-length", "2")).toBe("taken");
});
