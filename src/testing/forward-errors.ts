// How far the forward pass is from a fixture's hidden states and logits.

import { forwardLayer } from "../calibrate/forward/forward-layer.ts";
import { finalNorm, logits, logitsStride } from "../calibrate/forward/head/logits.ts";
import { turnOver } from "../formats/weights/turn-over.ts";
import { checkShapes } from "../model/check-tensors.ts";
import { type DecoderDescription, rowSize } from "../model/decoder-description.ts";
import {
  type ArchitectureFixture,
  type FixtureTensors,
  floatDtype,
  floatsOf,
  loadArchitecture,
  relativeError,
} from "./architecture-fixture.ts";
import { splitExperts } from "../plan/checkpoint/split-experts.ts";
import { openDecoder } from "./open-decoder.ts";
import { openTestGpu, type TestGpu } from "./open-test-gpu.ts";

/** Without what rows carry behind the hidden states. */
function hiddenOf(description: DecoderDescription, rows: Float32Array): Float32Array {
  const width = rowSize(description);
  return rows.filter((_, index) => index % width < description.hiddenSize);
}

/**
 * Runs a fixture's sequences.
 * @returns of the hidden states after the embedding and each layer (the last one normed), then of the logits: the largest
 *   difference from the fixture's over its standard deviation
 */
export async function forwardErrors(test: TestGpu, fixture: ArchitectureFixture): Promise<number[]> {
  const { reference, tensors } = fixture;
  using decoder = await openDecoder(test, fixture);
  const { description, pass, hidden, states } = decoder;
  checkShapes(
    description,
    [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype: floatDtype(dtype), shape })),
  );
  const { tokens } = pass.batch;
  const found = [relativeError(hiddenOf(description, states), floatsOf(reference, "hidden_0"))];
  for (const [index, layer] of description.layers.entries()) {
    await forwardLayer(await decoder.passOf(index), layer, hidden);
    if (index === description.layers.length - 1) break;
    const now = hiddenOf(description, await test.readFloats(hidden));
    found.push(relativeError(now, floatsOf(reference, `hidden_${index + 1}`)));
  }
  const normed = await finalNorm(pass, description, hidden, pass.workspace.normed, tokens);
  const last = await test.readFloats(pass.workspace.normed, tokens * description.hiddenSize);
  found.push(relativeError(last, floatsOf(reference, `hidden_${description.layers.length}`)));
  using output = await test.empty("logits", tokens * logitsStride(description) * 4);
  await logits(pass, description, normed, output);
  found.push(relativeError(await test.readFloats(output), floatsOf(reference, "logits")));
  return found;
}

/** The errors of one of the fixtures that a page's server has under `folder`, on a GPU of its own. */
export async function measureFixture(name: string, folder: string): Promise<number[]> {
  using test = await openTestGpu();
  const fixture = await loadArchitecture(name, folder);
  return await forwardErrors(test, { ...fixture, tensors: turnedExperts(fixture.tensors) });
}

/** Experts that lie transposed (Llama 4), one by one as the page reads them; other tensors as they are. */
function turnedExperts(tensors: FixtureTensors): FixtureTensors {
  const whole = [...tensors.values()][0]?.bytes.buffer ?? new ArrayBuffer();
  const entries = Array.from(tensors, ([name, { dtype, shape, bytes }]) => {
    const start = bytes.byteOffset;
    return {
      name,
      dtype: floatDtype(dtype),
      shape,
      file: "model.safetensors",
      start,
      end: start + bytes.byteLength,
    };
  });
  const split = splitExperts(entries);
  if (split.transposed.size === 0) return tensors;
  return new Map(
    split.tensors.map(({ name, dtype, shape, file, start, end }) => {
      const [weight] = split.transposed.get(file) ?? [];
      if (!weight) return [name, { dtype, shape, bytes: new Uint8Array(whole, start, end - start) }];
      const matrix = new Uint8Array(whole.slice(weight.start, weight.end));
      return [name, { dtype, shape, bytes: turnOver(matrix, weight, 0, weight.rows) }];
    }),
  );
}
