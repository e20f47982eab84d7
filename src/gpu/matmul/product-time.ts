import type { Gpu } from "../gpu.ts";

/**
 * Milliseconds that the GPU is busy with `runs` runs of a product, one behind the other: browsers round its clock to a tenth of a
 * millisecond. What was recorded before is done first.
 */
export async function productTime(
  { queue }: Gpu,
  product: () => Promise<void>,
  runs: number,
): Promise<number> {
  await queue.idle();
  const busy = queue.busyMs;
  for (let run = 0; run < runs; run++) await product();
  await queue.idle();
  return queue.busyMs - busy;
}
