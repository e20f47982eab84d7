import { expect, it } from "vitest";
import {
  findMatrixShape,
  halvesWorkgroup,
  hasRoomFor,
  MATRIX_FEATURE,
  matrixShapeName,
} from "./matrix-shape.ts";

const config = (M: number, N: number, K: number, componentType = "f16", resultComponentType = "f32") => ({
  M,
  N,
  K,
  componentType,
  resultComponentType,
});

const NVIDIA = {
  features: new Set(["shader-f16", MATRIX_FEATURE]),
  limits: { maxComputeWorkgroupStorageSize: 49_152, maxComputeInvocationsPerWorkgroup: 1024 },
  info: {
    subgroupMinSize: 32,
    subgroupMaxSize: 32,
    subgroupMatrixConfigs: [
      config(16, 8, 8),
      config(16, 16, 16),
      config(16, 8, 16),
      config(16, 16, 32, "u8", "u32"),
    ],
  },
};

it("takes the largest matrices that sum halves in float32", () => {
  const shape = findMatrixShape(NVIDIA);
  expect(shape).toEqual({ m: 16, n: 16, k: 16, subgroup: 32 });
  expect(shape && matrixShapeName(shape)).toBe("16x16x16");
});

it.each([
  ["without the feature", { ...NVIDIA, features: new Set(["shader-f16"]) }],
  ["without float16", { ...NVIDIA, features: new Set([MATRIX_FEATURE]) }],
  ["where the browser lists none", { ...NVIDIA, info: { subgroupMinSize: 32, subgroupMaxSize: 32 } }],
  ["where subgroups vary", { ...NVIDIA, info: { ...NVIDIA.info, subgroupMinSize: 8 } }],
  [
    "in the smallest workgroup memory",
    { ...NVIDIA, limits: { ...NVIDIA.limits, maxComputeWorkgroupStorageSize: 16_384 } },
  ],
  [
    "with sums in float16 only",
    { ...NVIDIA, info: { ...NVIDIA.info, subgroupMatrixConfigs: [config(8, 8, 8, "f16", "f16")] } },
  ],
  [
    "with matrices that do not divide the tile",
    { ...NVIDIA, info: { ...NVIDIA.info, subgroupMatrixConfigs: [config(12, 12, 12)] } },
  ],
])("finds none %s", (_case, adapter) => {
  expect(findMatrixShape(adapter)).toBeNull();
});

it("has wide tiles where workgroups are large enough for them", () => {
  const shape = { m: 16, n: 16, k: 16, subgroup: 32 };
  expect(halvesWorkgroup(shape, true)).toEqual({
    lanes: 256,
    rows: 128,
    columns: 256,
    depth: 32,
    bytes: 40_960,
  });
  const { limits } = NVIDIA;
  expect(hasRoomFor(shape, limits, true)).toBe(true);
  expect(hasRoomFor(shape, { ...limits, maxComputeWorkgroupStorageSize: 32_768 }, true)).toBe(false);
  expect(hasRoomFor(shape, { ...limits, maxComputeInvocationsPerWorkgroup: 128 }, true)).toBe(false);
  // Eight matrices of results take more than the halves in whose place they leave.
  expect(halvesWorkgroup({ ...shape, k: 8, subgroup: 16 }, true).bytes).toBe(8192 + 384 * 48);
});
