// Kernels that are made for a GPU's matrices: their shape is a part of types in WGSL, which overrides cannot be.

import type { Kernel } from "../kernel.ts";
import { halvesWorkgroup, type MatrixShape, matrixShapeName } from "./matrix-shape.ts";

/** What a kernel's name begins with, and its code but for the shape's constants. */
interface NamedCode {
  readonly name: string;
  readonly code: readonly string[];
}

/**
 * Makes the kernel of each shape once, with wide tiles or others (see `halvesWorkgroup`). @param create is given its name and its code,
 * in which the block of a step stands as often as a tile has steps, the shape's constants last
 */
export function kernelsByShape<Made extends Kernel>(
  { name, code }: NamedCode,
  create: (made: NamedCode) => Made,
): (shape: MatrixShape, wide?: boolean) => Made {
  const kernels = new Map<string, Made>();
  return (shape, wide = false) => {
    const key = JSON.stringify([shape, wide]);
    const steps = halvesWorkgroup(shape, wide).depth / shape.k;
    const own = {
      name: `${name}-${matrixShapeName(shape)}${wide ? "-wide" : ""}`,
      code: [...code.map((text) => spellOut(text, steps)), constantsOf(shape, wide)],
    };
    const made = kernels.get(key) ?? create(own);
    kernels.set(key, made);
    return made;
  };
}

const FIRST_STEP = /^ *\{ const step = 0u;\n[^]*?\} \/\/ step\n/m;

/** Repeats the block of a step: compilers leave a loop around matrices a loop, which costs up to a fifth of the speed (H200). */
function spellOut(code: string, steps: number): string {
  return code.replace(FIRST_STEP, (block) =>
    Array.from({ length: steps }, (_, step) => block.replace("step = 0u", `step = ${step}u`)).join(""),
  );
}

function constantsOf({ m, n, k, subgroup }: MatrixShape, wide: boolean): string {
  const constants = {
    MATRIX_M: `${m}u`,
    MATRIX_N: `${n}u`,
    MATRIX_K: `${k}u`,
    SUBGROUP: `${subgroup}u`,
    WIDE: wide,
  };
  return Object.entries(constants)
    .map(([name, value]) => `const ${name} = ${value};`)
    .join("\n");
}
