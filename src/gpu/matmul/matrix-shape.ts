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

/** The workgroup of a product of halves: `rows` and `columns` of results, and `depth` of k at a time. */
export interface HalvesWorkgroup {
  readonly lanes: number;
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Of workgroup memory in matmul-halves.wgsl: high halves, in whose place results leave, low halves and weights, with padding. */
  readonly bytes: number;
}

/** As matmul-halves.wgsl and, but for `bytes`, rank-k-halves.wgsl have it; only the former has wide ones, of twice as many columns. */
export function halvesWorkgroup({ m, subgroup }: MatrixShape, wide = false): HalvesWorkgroup {
  const subgroups = wide ? 8 : 4;
  const rows = 8 * m;
  const columns = (rows * subgroups) / 4;
  const depth = (2 * subgroups * subgroup) / m;
  const row = (depth + 8) * 2;
  return {
    lanes: subgroups * subgroup,
    rows,
    columns,
    depth,
    bytes: Math.max(rows * row, subgroups * m * m * 4) + (rows + columns) * row,
  };
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
  const { depth } = halvesWorkgroup(shape);
  return m === n && [m / 8, k / 8, depth / k].every(Number.isInteger) && hasRoomFor(shape, limits);
}

/** Whether a GPU's workgroups are large enough for those of the product of halves. */
export function hasRoomFor(shape: MatrixShape, limits: WorkgroupLimits, wide = false): boolean {
  const { lanes, bytes } = halvesWorkgroup(shape, wide);
  return limits.maxComputeWorkgroupStorageSize >= bytes && limits.maxComputeInvocationsPerWorkgroup >= lanes;
}

/** "16x16x16" */
export function matrixShapeName({ m, n, k }: MatrixShape): string {
  return `${m}x${n}x${k}`;
}
