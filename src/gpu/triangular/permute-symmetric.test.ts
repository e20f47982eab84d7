import { describe, expect, it } from "vitest";
import { seededRandom } from "../../testing/random.ts";
import { involutionsOf } from "./permute-symmetric.ts";

function shuffled(n: number, seed: number): Uint32Array {
  const random = seededRandom(seed);
  const order = Uint32Array.from({ length: n }, (_, index) => index);
  for (let index = n - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [order[index], order[other]] = [order[other] ?? 0, order[index] ?? 0];
  }
  return order;
}

describe("involutionsOf", () => {
  it.each([1, 2, 3, 10, 257])("splits a permutation of %i into two involutions", (n) => {
    for (let seed = 0; seed < 20; seed++) {
      const order = shuffled(n, seed);
      const [first, second] = involutionsOf(order);
      expect(first.map((to) => first[to] ?? -1)).toEqual(first.map((_, index) => index));
      expect(second.map((to) => second[to] ?? -1)).toEqual(second.map((_, index) => index));
      expect(second.map((to) => first[to] ?? -1)).toEqual(order);
    }
  });
});
