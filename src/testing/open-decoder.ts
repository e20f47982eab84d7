// A fixture's decoder, ready to run on the test GPU.

import { embedTokens } from "../calibrate/forward/embed-tokens.ts";
import { spreadRows } from "../formats/weights/spread-rows.ts";
import type { ForwardPass } from "../calibrate/forward/forward-pass.ts";
import { createBatch } from "../calibrate/forward/token-batch.ts";
import { createWorkspace } from "../calibrate/forward/workspace.ts";
import type { LedgerBuffer } from "../gpu/memory.ts";
import { UploadRing } from "../gpu/staging/upload-ring.ts";
import { type DecoderDescription, rowSize } from "../model/decoder-description.ts";
import { distinctIds, openTokenInputSource } from "../calibrate/forward/token-inputs/token-input-source.ts";
import { openTokenTables } from "../calibrate/forward/token-inputs/token-inputs.ts";
import { describeDecoder } from "../model/describe-decoder.ts";
import { createLifetime } from "../disposal.ts";
import { type ArchitectureFixture, fixtureWeights, floatDtype } from "./architecture-fixture.ts";
import type { TestGpu } from "./open-test-gpu.ts";
import { planWorkspace } from "../calibrate/forward/plan-workspace.ts";

export interface OpenDecoder extends Disposable {
  readonly description: DecoderDescription;
  readonly pass: ForwardPass;
  /** The same for a layer whose tokens are given inputs. */
  passOf(layer: number): Promise<ForwardPass>;
  /** (tokens, hidden), after the embedding. */
  readonly hidden: LedgerBuffer;
  readonly states: Float32Array<ArrayBuffer>;
}

export interface OpenDecoderOptions {
  /** Tokens of each sequence; default the fixture's own. Ids are the fixture's, in order, from `firstId`. */
  readonly lengths?: readonly number[];
  readonly firstId?: number;
  /** Linears come in tiles of so many rows. */
  readonly tileRows?: number;
  /** MLPs run over so many tokens at once. */
  readonly mlpTokens?: number;
}

/** The ids of the fixture's sequences, end to end, and their lengths. */
export function fixtureIds({ reference }: ArchitectureFixture): { ids: number[]; lengths: number[] } {
  const { shape, bytes } = reference.get("input_ids") ?? { shape: [], bytes: new Uint8Array() };
  const [sequences = 0, length = 0] = shape;
  const ids = Array.from(new BigInt64Array(bytes.slice().buffer), Number);
  return { ids, lengths: Array.from({ length: sequences }, () => length) };
}

export async function openDecoder(
  test: TestGpu,
  fixture: ArchitectureFixture,
  options: OpenDecoderOptions = {},
): Promise<OpenDecoder> {
  const { gpu } = test;
  const lifetime = createLifetime();
  const uploads = lifetime.use(await UploadRing.create(gpu, { pieceBytes: 65_536, pieces: 1 }));
  const description = describeDecoder(fixture.config, fixture.tensors.keys());
  const { ids, lengths: whole } = fixtureIds(fixture);
  const { lengths = whole, firstId = 0, tileRows, mlpTokens } = options;
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const own = ids.slice(firstId, firstId + tokens);
  const states = await embedFixture(description, fixture, own);
  const plan = planWorkspace(description.layers, {
    tokens,
    longest: Math.max(...lengths),
    maxBufferBytes: 2 ** 27,
    ...(mlpTokens === undefined ? {} : { mlpTokens }),
  });
  const pass = {
    gpu,
    weights: lifetime.use(fixtureWeights(test, description, fixture.tensors, tileRows)),
    workspace: lifetime.use(await createWorkspace(gpu, uploads, plan)),
    batch: lifetime.use(await createBatch(gpu, uploads, lengths, description.tokenInputs && rowsOf(own))),
  };
  const tables = description.tokenInputs
    ? lifetime.use(await openTables(test, uploads, description, fixture, own))
    : null;
  const hidden = lifetime.use(await test.upload("hidden states", states));
  const passOf = async (layer: number) =>
    tables ? { ...pass, tokenTable: await tables.of(layer) } : await Promise.resolve(pass);
  return { description, pass, passOf, hidden, states, [Symbol.dispose]: () => lifetime[Symbol.dispose]() };
}

function rowsOf(ids: readonly number[]): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(ids, distinctIds([ids]).placeOf);
}

async function openTables(
  { gpu }: TestGpu,
  uploads: UploadRing,
  description: DecoderDescription,
  { tensors }: ArchitectureFixture,
  ids: readonly number[],
) {
  const { tokenInputs, hiddenSize } = description;
  if (!tokenInputs) throw new Error("The fixture has no token inputs");
  const tensor = (name: string) => {
    const found = tensors.get(name);
    if (!found) throw new Error(`The fixture has no tensor ${name}`);
    const { bytes, dtype } = found;
    return {
      dtype: floatDtype(dtype),
      read: (start: number, end: number) => Promise.resolve(bytes.slice(start, end)),
    };
  };
  const source = await openTokenInputSource(
    description,
    tokenInputs,
    distinctIds([ids]).ids,
    tensor,
    2 ** 20,
  );
  return await openTokenTables(gpu, uploads, tokenInputs, hiddenSize, source);
}

async function embedFixture(
  { embedding, vocabSize, hiddenSize, layers }: DecoderDescription,
  { tensors }: ArchitectureFixture,
  ids: readonly number[],
): Promise<Float32Array<ArrayBuffer>> {
  const table = tensors.get(embedding.tensor);
  if (!table) throw new Error("The fixture has no embedding");
  const read = (start: number, end: number) => Promise.resolve(table.bytes.subarray(start, end));
  const { multiplier } = embedding;
  const dtype = floatDtype(table.dtype);
  const states = await embedTokens({ dtype, rows: vocabSize, columns: hiddenSize, multiplier, read }, ids);
  return spreadRows(states, hiddenSize, rowSize({ layers, hiddenSize }));
}
