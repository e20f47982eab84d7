// What an evaluation says to its source: which tensors come next, and which bytes were read for the last time.

import type { SourceApi } from "../../api/source-api.ts";
import { type FileRange, mergeRanges, rangesBytes } from "../../formats/files/file-ranges.ts";
import type { DecoderDescription } from "../../model/decoder-description.ts";
import type { SourceTensor } from "../../plan/checkpoint/read-headers.ts";

/** What is announced beyond the step at work: about as much as a source holds unread for a reader that keeps up. */
const AHEAD_BYTES = 256 * 1024 ** 2;

/** A tensor that evaluation has no use for: shapes are in the configuration. */
const UNREAD = /\.weight_shape$/;

export interface ModelTraffic {
  /** Says that layers from this one on will be read, and then the head; −1 begins with the embedding. So much is said at once. */
  readonly announce: (from: number, aheadBytes?: number) => void;
  /** Reads a range of a tensor for the last time. */
  take(tensor: SourceTensor, range: FileRange): Promise<Uint8Array<ArrayBuffer>>;
}

export interface ModelFiles {
  readonly source: Pick<SourceApi, "prefetch" | "take" | "use">;
  readonly description: DecoderDescription;
  /** Tensors as evaluation reads them, and as they lie in files. */
  readonly tensors: readonly SourceTensor[];
  readonly files: readonly SourceTensor[];
  /** Where the bytes of a range really lie, if its file is made of others. */
  readonly partsOf: (range: FileRange) => readonly FileRange[];
}

export function createModelTraffic(model: ModelFiles): ModelTraffic {
  const { source } = model;
  let steps: readonly (readonly FileRange[])[] | null = null;
  let unread: ReadonlyMap<string, FileRange> | null = null;
  return {
    announce(from, aheadBytes = AHEAD_BYTES) {
      steps ??= stepsOf(model);
      const [now = [], ...later] = steps.slice(from + 1);
      const asked = [...now];
      let ahead = 0;
      for (const step of later) {
        if (ahead >= aheadBytes) break;
        ahead += rangesBytes(step);
        asked.push(...step);
      }
      source.prefetch(asked);
    },
    async take({ file: path, start, end }, range) {
      unread ??= unreadRanges(model.files);
      // A chunk is done with when all of it is: what nobody reads counts as read with its neighbours.
      for (const skipped of [unread.get(`${path} ends ${start}`), unread.get(`${path} starts ${end}`)]) {
        if (skipped) source.use(skipped);
      }
      return await source.take(range);
    },
  };
}

/** The embedding, each layer, and what is read behind the last one, in the order of their files. */
function stepsOf({ tensors, description, partsOf }: ModelFiles): FileRange[][] {
  const { embedding, layers, head, finalNorm } = description;
  const steps: FileRange[][] = Array.from({ length: layers.length + 2 }, () => []);
  const places = new Map(layers.map(({ name }, index) => [name, index + 1]));
  const names = [head.linear.module, head.linear.source.tensor, finalNorm.weight ?? ""];
  const last = new Set(names.map((name) => name.replace(/\.weight$/, "")));
  const placeOf = (name: string) => {
    const parts = name.split(".");
    for (let length = parts.length - 1; length > 0; length--) {
      const place = places.get(parts.slice(0, length).join("."));
      if (place !== undefined) return place;
    }
    return last.has(parts.slice(0, -1).join(".")) ? layers.length + 1 : null;
  };
  for (const { name, file: path, start, end } of tensors) {
    if (UNREAD.test(name)) continue;
    const parts = partsOf({ path, start, end });
    if (name === embedding.tensor) steps[0]?.push(...parts);
    const place = placeOf(name);
    if (place !== null) steps[place]?.push(...parts);
  }
  return steps.map((ranges) => mergeRanges(ranges));
}

/** Headers, and tensors that are not read, by where they start and end. */
function unreadRanges(files: readonly SourceTensor[]): Map<string, FileRange> {
  const firsts = new Map<string, number>();
  for (const { file, start } of files) firsts.set(file, Math.min(firsts.get(file) ?? start, start));
  const headers = Array.from(firsts, ([path, end]) => ({ path, start: 0, end }));
  const tensors = files.filter(({ name }) => UNREAD.test(name));
  const ranges = mergeRanges([
    ...headers,
    ...tensors.map(({ file: path, start, end }) => ({ path, start, end })),
  ]);
  return new Map(
    ranges.flatMap((range) => [
      [`${range.path} starts ${range.start}`, range],
      [`${range.path} ends ${range.end}`, range],
    ]),
  );
}
