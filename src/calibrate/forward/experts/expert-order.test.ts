import { describe, expect, it } from "vitest";
import { sortRoutes } from "./expert-order.ts";

describe("sortRoutes", () => {
  it("puts each expert's routes together, in the order of tokens", () => {
    // token 0: experts 2, 0; token 1: 2, 1; token 2: 0, 2
    const routes = Uint32Array.from([2, 9, 0, 9, 2, 9, 1, 9, 0, 9, 2, 9]);
    const { order, starts } = sortRoutes(routes, 4);
    expect([...starts]).toEqual([0, 2, 3, 6, 6]);
    expect([...order]).toEqual([1, 4, 3, 0, 2, 5]);
  });
});
