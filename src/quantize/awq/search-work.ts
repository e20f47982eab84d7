// What a search for scales takes, in the floating-point operations of matrix products that take as long.

import { lowerProductWork } from "../../gpu/triangular/lower-product.ts";
import { GUARD_TOGETHER, GUARD_VARIANTS, type GuardedExperts } from "./guard-experts.ts";
import type { GroupMember } from "./search-mappings.ts";

/**
 * Operations of a product that take as long as rounding one weight under one candidate. Measured on the software adapter; where layers are
 * wide, products of Hessians and of tokens are many times that.
 */
export const ROUNDING = 300;

/**
 * Of mappings that so many candidates are tried of. Each Linear is rounded for each of them; where no block is run for it, its errors are
 * multiplied by the Hessian, and its own weights once, with which errors are compared.
 */
export function searchWork(members: readonly GroupMember[], tried: number): number {
  return sum(
    members.map(({ byBlock, tasks }) => {
      const products = byBlock ? 0 : sum(tasks.map(({ rows, columns }) => rows * lowerProductWork(columns)));
      return (tried + 1) * products + tried * ROUNDING * weightsOf(tasks);
    }),
  );
}

/** Of experts that are run with what was chosen: their roundings, in as few batches as there may be. */
export function guardWork({ input, inner }: GuardedExperts): number {
  const last = inner.flatMap(({ tasks }) => tasks);
  return (
    ROUNDING * (GUARD_TOGETHER.length * weightsOf(input.tasks) + GUARD_VARIANTS.length * weightsOf(last))
  );
}

function weightsOf(tasks: GroupMember["tasks"]): number {
  return sum(tasks.map(({ rows, columns }) => rows * columns));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
