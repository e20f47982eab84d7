import type { Kernel } from "../../gpu/kernel.ts";
import { halvesKernel } from "../../gpu/matmul/matmul-halves.ts";
import { rankKHalvesKernel } from "../../gpu/triangular/rank-k-halves.ts";

/** Every module that may declare kernels. */
const modules = import.meta.glob<Record<string, unknown>>([
  "../../{gpu,quantize,calibrate,onload}/**/*.ts",
  "!../../**/*.test.ts",
]);

function isKernel(value: unknown): value is Kernel {
  return typeof value === "object" && value !== null && "bindings" in value && "entryPoint" in value;
}

/** All kernels of the project, and those that are made for the GPU at hand. */
export async function everyKernel(): Promise<readonly Kernel[]> {
  const loaded = await Promise.all(Object.values(modules).map(async (load) => await load()));
  const exported = loaded.flatMap((module) => Object.values(module)).filter(isKernel);
  const shape = { m: 16, n: 16, k: 16, subgroup: 32 };
  return [
    ...new Set([...exported, halvesKernel(shape), halvesKernel(shape, true), rankKHalvesKernel(shape)]),
  ];
}
