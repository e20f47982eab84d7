// The matrices that a GPU multiplies in hardware ("subgroup matrices", an experimental feature of browsers).

export const MATRIX_FEATURE = "chromium-experimental-subgroup-matrix";

/** A product of m x k halves by k x n halves, summed in float32 by one subgroup; m = n in the ones that we can use. */
export interface MatrixShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Invocations that share a matrix. */
  readonly subgroup: number;
}

/** As the browser lists what an adapter's matrix units do; not in its types yet. */
interface MatrixInfo {
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  readonly subgroupMatrixConfigs?: Iterable<{
    readonly componentType: string;
    readonly resultComponentType: string;
    readonly M: number;
    readonly N: number;
    readonly K: number;
  }>;
}

type WorkgroupLimits = Pick<
  GPUSupportedLimits,
  "maxComputeWorkgroupStorageSize" | "maxComputeInvocationsPerWorkgroup"
>;

/** The workgroup of matmul-halves.wgsl: `tile` rows and columns of results, and `depth` of k at a time. */
export function halvesWorkgroup({ m, subgroup }: MatrixShape) {
  const tile = 8 * m;
  const depth = (8 * subgroup) / m;
  const operandBytes = tile * (depth / 4 + 2) * 8;
  return { lanes: 4 * subgroup, tile, depth, operandBytes };
}

/** The largest matrices, if any, that the product of halves can be made of on this adapter. */
export function findMatrixShape(adapter: {
  readonly features: { has(name: string): boolean };
  readonly limits: WorkgroupLimits;
  readonly info: object;
}): MatrixShape | null {
  const { features, limits } = adapter;
  const info: MatrixInfo = adapter.info;
  const { subgroupMinSize: subgroup = 0, subgroupMaxSize } = info;
  if (!features.has(MATRIX_FEATURE) || !features.has("shader-f16")) return null;
  // Which invocations form a subgroup must be known beforehand.
  if (subgroup === 0 || subgroup !== subgroupMaxSize) return null;
  const shapes = [...(info.subgroupMatrixConfigs ?? [])]
    .filter(
      ({ componentType, resultComponentType }) => componentType === "f16" && resultComponentType === "f32",
    )
    .map(({ M: m, N: n, K: k }) => ({ m, n, k, subgroup }))
    .filter((shape) => fits(shape, limits));
  return shapes.toSorted((a, b) => b.m * b.n * b.k - a.m * a.n * a.k)[0] ?? null;
}

/** True if the product is written for such matrices, and the adapter's workgroups are large enough for it. */
function fits(shape: MatrixShape, limits: WorkgroupLimits): boolean {
  const { m, n, k } = shape;
  const { lanes, depth, operandBytes } = halvesWorkgroup(shape);
  // High halves, low halves and weights.
  const hasRoom =
    limits.maxComputeWorkgroupStorageSize >= 3 * operandBytes &&
    limits.maxComputeInvocationsPerWorkgroup >= lanes;
  return m === n && [depth / 8, depth / k, k / 4].every(Number.isInteger) && hasRoom;
}

/** "16x16x16" */
export function matrixShapeName({ m, n, k }: MatrixShape): string {
  return `${m}x${n}x${k}`;
}
