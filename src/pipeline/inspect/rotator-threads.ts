// Rotations in threads of their own: the compressor's thread has a GPU to feed meanwhile.

// oxlint-disable-next-line import/default -- Vite makes the default export.
import rotatorUrl from "../../../workers/rotator.ts?worker&url";
import { createSpanRotator, type RotatorApi, type Span } from "../../plan/rotation/rotate-span.ts";
import { createThreadPool } from "../../thread-pool.ts";

export type RotateSpan = (span: Span) => Promise<Uint8Array<ArrayBuffer>>;

/** Rotates spans in threads. @param idleMs after which threads without work end */
export function createRotators(idleMs?: number): RotateSpan {
  const here = createSpanRotator();
  const script = { url: rotatorUrl, base: import.meta.url, name: "rotator" };
  const { ask } = createThreadPool<RotatorApi>(script, { idleMs });
  return async (span) =>
    await ask(
      async (api) => await api.rotate(span),
      () => here(span),
    );
}
