// A kernel is a .wgsl file, the description of its params struct, its bindings and its override constants. Group 0
// holds the params as a uniform at binding 0 and the storage buffers at bindings 1, 2, …, in declared order.

import { DeviceLimitError, DeviceLostError, joinedLines } from "../errors.ts";
import type { LedgerBuffer } from "./memory.ts";
import type { Scalar, Struct, StructValue } from "./struct.ts";

export type Access = "read" | "read_write";

export interface Kernel<
  Fields extends Readonly<Record<string, Scalar>> = Readonly<Record<string, Scalar>>,
  Bindings extends Readonly<Record<string, Access>> = Readonly<Record<string, Access>>,
  Constants extends string = string,
> {
  /** "rtn.encode": used as label of pipelines, error scopes and traces, and names the file. */
  readonly name: string;
  /** WGSL modules, shared ones first; they are joined as they are. */
  readonly code: readonly string[];
  readonly entryPoint: string;
  readonly params: Struct<Fields>;
  /** Storage buffers in binding order. */
  readonly bindings: Bindings;
  /** Names of the override constants that the caller sets. */
  readonly constants: readonly Constants[];
}

/** A whole ledger buffer, or a part of it: `offset` must be a multiple of 256. */
export type BufferPart =
  | LedgerBuffer
  | { readonly of: LedgerBuffer; readonly offset: number; readonly bytes: number };

export interface Dispatch<K extends Kernel> {
  readonly params: StructValue<K["params"]>;
  readonly buffers: { readonly [Name in keyof K["bindings"]]: BufferPart };
  readonly constants?: { readonly [Name in K["constants"][number]]?: number };
  readonly workgroups: readonly [number, number?, number?];
  /** Work units (flops, or bytes moved) of this dispatch: the pacer learns milliseconds per unit for each kernel. */
  readonly work: number;
}

export function kernel<
  const Fields extends Readonly<Record<string, Scalar>>,
  const Bindings extends Readonly<Record<string, Access>>,
  const Constants extends string = never,
>(
  description: Omit<Kernel<Fields, Bindings, Constants>, "entryPoint" | "constants"> & {
    readonly constants?: readonly Constants[];
    readonly entryPoint?: string;
  },
): Kernel<Fields, Bindings, Constants> {
  return { entryPoint: "main", constants: [], ...description };
}

export interface CompiledKernel {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Compiles kernels once per device and set of constants. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #compiled = new Map<string, Promise<CompiledKernel>>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  get(wanted: Kernel, constants: Readonly<Record<string, number>> = {}): Promise<CompiledKernel> {
    const key = `${wanted.name} ${JSON.stringify(constants)}`;
    const known = this.#compiled.get(key);
    if (known) return known;
    const compiling = this.#compile(wanted, constants);
    this.#compiled.set(key, compiling);
    // A failed compilation must not be remembered: after a lost device the same cache key is tried again.
    compiling.catch(() => this.#compiled.delete(key));
    return compiling;
  }

  async #compile(wanted: Kernel, constants: Readonly<Record<string, number>>): Promise<CompiledKernel> {
    const accesses = Object.values(wanted.bindings);
    const limit = this.#device.limits.maxStorageBuffersPerShaderStage;
    if (accesses.length > limit) {
      throw new DeviceLimitError(
        `The kernel ${wanted.name} needs ${accesses.length} storage buffers; this GPU allows ${limit} (maxStorageBuffersPerShaderStage).`,
      );
    }
    const visibility = GPUShaderStage.COMPUTE;
    const layout = this.#device.createBindGroupLayout({
      label: wanted.name,
      entries: [
        { binding: 0, visibility, buffer: { type: "uniform", hasDynamicOffset: true } },
        ...accesses.map((access, index): GPUBindGroupLayoutEntry => {
          const type = access === "read" ? "read-only-storage" : "storage";
          return { binding: index + 1, visibility, buffer: { type } };
        }),
      ],
    });
    const pipeline = await this.#device
      .createComputePipelineAsync({
        label: wanted.name,
        layout: this.#device.createPipelineLayout({ label: wanted.name, bindGroupLayouts: [layout] }),
        compute: {
          module: this.#device.createShaderModule({ label: wanted.name, code: wanted.code.join("\n") }),
          entryPoint: wanted.entryPoint,
          constants,
        },
      })
      .catch((cause: unknown) => {
        throw compilationError(wanted, cause);
      });
    return { pipeline, layout };
  }
}

/** Code that is not valid is a defect. What else goes wrong is the driver's, above all that the GPU is gone. */
function compilationError({ name }: Kernel, cause: unknown): unknown {
  if (!(cause instanceof Error) || (cause as Partial<GPUPipelineError>).reason === "validation") return cause;
  return new DeviceLostError(
    `The GPU was lost, or its driver failed, while ${name} was being compiled: ${joinedLines(cause.message)}`,
    { cause },
  );
}

/** The most workgroups that one dimension of a dispatch may have (the default limit, and what every adapter gives). */
export const MAX_WORKGROUPS = 65_535;

/**
 * Spreads `count` workgroups over x and y, for kernels that compute their index as
 * `workgroup_id.y * num_workgroups.x + workgroup_id.x` and ignore indices past the end.
 */
export function spreadWorkgroups(count: number): [number, number] {
  const y = Math.ceil(count / MAX_WORKGROUPS);
  return [Math.ceil(count / Math.max(y, 1)), y];
}
