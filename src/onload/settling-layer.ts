// A layer whose Linears come to the GPU one by one, and stay there.

import { madeOf } from "../disposal.ts";
import { invariant } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { LedgerBuffer } from "../gpu/memory.ts";
import type { UploadRing } from "../gpu/staging/upload-ring.ts";
import type { Linear } from "../model/weight-description.ts";
import type { HostLayer } from "./host-layer.ts";
import { onloaded, type OnloadedLayer, onloadVectors, onloadWhole, type RowTile } from "./layer-weights.ts";

/** A layer whose Linears come to the GPU when they are wanted, and stay. */
export interface SettlingLayer extends OnloadedLayer {
  /** Begins to bring the weights of these modules, one after the other, behind those that are on their way. */
  bring(modules: readonly string[]): void;
  /** Resolves when a module that was asked for lies on the GPU. */
  settled(module: string): Promise<void>;
  /** Resolves when all that was asked for has come, or failed to. */
  quiet(): Promise<void>;
}

/** Opens a layer of which only the vectors are onloaded yet. */
export async function openSettlingLayer(
  gpu: Gpu,
  uploads: UploadRing,
  host: HostLayer,
  parts: { readonly linears: readonly Linear[]; readonly vectors: readonly string[] },
): Promise<SettlingLayer> {
  const limit = Math.min(gpu.device.limits.maxStorageBufferBindingSize, gpu.device.limits.maxBufferSize);
  const resident = new Map<string, readonly RowTile[]>();
  const coming = new Map<string, Promise<void>>();
  let last = Promise.resolve();
  const vectors = new Map<string, LedgerBuffer>();
  const layer = await madeOf(async (made) => {
    const own = made.use(
      onloaded(gpu, { vectors, resident, stream: null }, (module) => {
        throw new Error(`Defect: ${module} is not onloaded`);
      }),
    );
    await onloadVectors(gpu, uploads, host, parts.vectors, vectors);
    return own;
  });
  return {
    ...layer,
    bring(modules) {
      for (const module of modules) {
        if (coming.has(module)) continue;
        const linear = parts.linears.find((candidate) => candidate.module === module);
        invariant(linear, `${module} is a Linear of its layer`);
        last = last.then(async () => await onloadWhole(gpu, uploads, host, { linear, limit, resident }));
        // It is waited for when the module is wanted.
        last.catch(() => undefined);
        coming.set(module, last);
      }
    },
    async settled(module) {
      await coming.get(module);
    },
    async quiet() {
      await last.catch(() => undefined);
    },
  };
}
