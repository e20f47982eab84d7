// Hidden states of all samples, or of neighbouring ones, in front of a layer, as a file: safetensors with one tensor, (tokens,
// hidden), in the order of the samples, and metadata that says of which job they are. A range of layers begins with them.

import * as v from "valibot";
import { CalibrationError } from "../errors.ts";
import { decodeUtf8, parseJson } from "../formats/text/parse-json.ts";
import { HEADER_PREFIX_BYTES, parseHeaderLength } from "../formats/safetensors/safetensors.ts";

export interface StatesFacts {
  /** Digest of the whole job: source, recipe, samples. */
  readonly job: string;
  /** Commit that the program was built from. */
  readonly version: string;
  /** The layer that they feed. */
  readonly layer: number;
  /** What the forward products ran on. */
  readonly forwardProducts: string;
  /** Tokens of all samples before those of the file. */
  readonly firstToken: number;
}

export interface StatesShape {
  readonly dtype: "F32" | "BF16";
  readonly tokens: number;
  readonly hiddenSize: number;
}

/** More than any header of such a file has. */
export const MAX_STATES_HEADER_BYTES = 4096;

export function statesFileName(layer: number): string {
  return `states-${layer}.safetensors`;
}

/** The bytes in front of the states. */
export function statesHeader(
  facts: StatesFacts,
  { dtype, tokens, hiddenSize }: StatesShape,
): Uint8Array<ArrayBuffer> {
  const bytes = tokens * hiddenSize * (dtype === "F32" ? 4 : 2);
  const header = {
    __metadata__: { ...facts, layer: String(facts.layer), firstToken: String(facts.firstToken) },
    hidden_states: { dtype, shape: [tokens, hiddenSize], data_offsets: [0, bytes] },
  };
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(json.byteLength / 8) * 8;
  const written = new Uint8Array(HEADER_PREFIX_BYTES + length).fill(0x20);
  new DataView(written.buffer).setBigUint64(0, BigInt(length), true);
  written.set(json, HEADER_PREFIX_BYTES);
  return written;
}

const text = v.pipe(v.string(), v.maxLength(200));
const schema = v.object({
  __metadata__: v.object({
    job: text,
    version: text,
    layer: v.pipe(text, v.regex(/^\d{1,6}$/), v.transform(Number)),
    forwardProducts: text,
    firstToken: v.pipe(text, v.regex(/^\d{1,15}$/), v.transform(Number)),
  }),
});

/**
 * Reads what a file of states says of itself.
 * @param beginning its first bytes, `MAX_STATES_HEADER_BYTES` if it has as many
 * @throws CalibrationError if it is no such file
 */
export function readStatesHeader(
  name: string,
  beginning: Uint8Array,
  fileBytes: number,
): { readonly facts: StatesFacts; readonly headerBytes: number } {
  const headerBytes = HEADER_PREFIX_BYTES + parseHeaderLength(name, beginning, fileBytes);
  const json = beginning.subarray(HEADER_PREFIX_BYTES, headerBytes);
  const read = v.safeParse(schema, parseJson(name, decodeUtf8(name, json)));
  if (!read.success || headerBytes > MAX_STATES_HEADER_BYTES)
    throw new CalibrationError(
      `${name} holds no hidden states that this program has written. Make them with --states-at.`,
    );
  const { __metadata__: facts } = read.output;
  return { facts, headerBytes };
}
