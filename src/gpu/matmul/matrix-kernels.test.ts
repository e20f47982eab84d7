import { expect, it } from "vitest";
import { kernel } from "../kernel.ts";
import { struct } from "../struct.ts";
import { kernelsByShape } from "./matrix-kernels.ts";

const shape = { m: 16, n: 16, k: 16, subgroup: 32 };
const BLOCK = "    { const step = 0u;\n      use(step);\n    } // step\n";
const made = kernelsByShape({ name: "gpu.some", code: [`before\n${BLOCK}after\n`] }, (named) =>
  kernel({ ...named, params: struct({}), bindings: {} }),
);

it("makes the kernel of a shape once, with wide tiles and without", () => {
  expect(made(shape)).toBe(made({ ...shape }));
  expect(made(shape, true)).not.toBe(made(shape));
  expect([made(shape).name, made(shape, true).name]).toEqual(["gpu.some-16x16x16", "gpu.some-16x16x16-wide"]);
});

it("spells out the steps of a tile, which a wide one has twice as many of", () => {
  expect(made(shape).code).toEqual([
    `before\n${BLOCK}after\n`,
    "const MATRIX_M = 16u;\nconst MATRIX_N = 16u;\nconst MATRIX_K = 16u;\nconst SUBGROUP = 32u;\nconst WIDE = false;",
  ]);
  const [code, constants] = made(shape, true).code;
  expect(code).toBe(`before\n${BLOCK}${BLOCK.replace("0u", "1u")}after\n`);
  expect(constants).toContain("const WIDE = true;");
});
