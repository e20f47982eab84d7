import { describe, expect, it, vi } from "vitest";
import { wakeApp } from "./create-app.ts";
import { recipeChoice } from "../state/recipe/recipe-fields.ts";
import type { Compressor } from "../state/services.ts";
import { openApp, failure } from "../testing/open-app.ts";

describe("a link", () => {
  it("asks nobody because of a link, but fills in what it names", () => {
    const inspect = vi.fn<Compressor["inspect"]>();
    const { state } = openApp({ compressor: { inspect } }, "?model=org%2Fname&recipe=w8a8");
    expect(state.address.value).toBe("org/name");
    expect(state.recipe.scheme.value).toBe("W8A8");
    expect(state.screen.value).toBe("choose");
    expect(inspect).not.toHaveBeenCalled();
  });

  it("takes GPTQ from a link", () => {
    const { state } = openApp({}, "?recipe=gptq-w8a16");
    expect(recipeChoice(state.recipe)).toMatchObject({
      scheme: "W8A16",
      method: { name: "GPTQModifier", actorder: "static" },
    });
  });

  it("says which recipe a link may have meant that asks for none", () => {
    const { state } = openApp({}, "?recipe=W8A61");
    expect(state.recipe.scheme.value).toBe("W4A16");
    expect(state.notice.value).toMatch(/“W8A61” does not exist. The nearest one is W8A16\. W4A16 is chosen/);
  });
});

describe("waking up", () => {
  it("says why there is no GPU, and derives the budget from the adapter where there is one", async () => {
    const without = openApp({
      compressor: { probe: async () => await Promise.reject(failure("DeviceLimitError")) },
    });
    await wakeApp(without);
    expect(without.state.adapterProblem.value).toBe("A sentence.");
    const withGpu = openApp();
    await wakeApp(withGpu);
    expect(withGpu.state.budgetBytes.value).toBe(4 * 1024 ** 3);
  });
});
