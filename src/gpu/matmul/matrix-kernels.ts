// Kernels that are made for a GPU's matrices: their shape is a part of types in WGSL, which overrides cannot be.

import type { Kernel } from "../kernel.ts";
import { type MatrixShape, matrixShapeName } from "./matrix-shape.ts";

/** What a kernel's name begins with, and its code but for the shape's constants. */
interface NamedCode {
  readonly name: string;
  readonly code: readonly string[];
}

/** Makes the kernel of each shape once. @param create is given its name and its code, the shape's constants last */
export function kernelsByShape<Made extends Kernel>(
  { name, code }: NamedCode,
  create: (made: NamedCode) => Made,
): (shape: MatrixShape) => Made {
  const kernels = new Map<string, Made>();
  return (shape) => {
    const key = JSON.stringify(shape);
    const own = { name: `${name}-${matrixShapeName(shape)}`, code: [...code, constantsOf(shape)] };
    const made = kernels.get(key) ?? create(own);
    kernels.set(key, made);
    return made;
  };
}

function constantsOf({ m, n, k, subgroup }: MatrixShape): string {
  const constants = { MATRIX_M: m, MATRIX_N: n, MATRIX_K: k, SUBGROUP: subgroup };
  return Object.entries(constants)
    .map(([name, value]) => `const ${name} = ${value}u;`)
    .join("\n");
}
