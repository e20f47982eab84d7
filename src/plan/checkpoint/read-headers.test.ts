import { describe, expect, it } from "vitest";
import { layOutSafetensors } from "../../formats/safetensors/safetensors.ts";
import { INDEX_FILE, parseIndex } from "../../formats/safetensors/safetensors-index.ts";
import { readConfig } from "./read-config.ts";
import { type FileReader, readHeaders } from "./read-headers.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** Files of which only the beginning exists. */
function reader(files: Readonly<Record<string, Uint8Array>>, sizes: Readonly<Record<string, number>> = {}) {
  const read: FileReader = {
    files: Object.entries(files).map(([path, bytes]) => ({ path, bytes: sizes[path] ?? bytes.byteLength })),
    readRange: ({ path, start, end }) => Promise.resolve(files[path]?.slice(start, end) ?? new Uint8Array()),
    readFile: (path) => Promise.resolve(files[path] ?? new Uint8Array()),
  };
  return read;
}

describe("headers of strangers", () => {
  it("are refused when they are longer together than those of any model", async () => {
    const declared = new Uint8Array(16);
    new DataView(declared.buffer).setBigUint64(0, 90_000_000n, true);
    const names = ["a.safetensors", "b.safetensors", "c.safetensors"];
    const files = Object.fromEntries(names.map((name) => [name, declared]));
    const sizes = Object.fromEntries(names.map((name) => [name, 100_000_000]));
    const whole = reader(files, sizes);
    // Beginnings tell of it: the rest, which takes long to parse, never comes.
    const beginnings: FileReader = {
      ...whole,
      readRange: async (range) =>
        range.start === 0 ? await whole.readRange(range) : await new Promise<never>(() => undefined),
    };
    await expect(readHeaders(beginnings, false)).rejects.toThrow(/longer than 191 MiB together/);
  });

  it("are refused when they nest deep, in one sentence for each file", async () => {
    const deep = `{"a":${"[".repeat(5000)}${"]".repeat(5000)}}`;
    const header = bytesOf(`        ${deep}`);
    new DataView(header.buffer).setBigUint64(0, BigInt(deep.length), true);
    await expect(readHeaders(reader({ "model.safetensors": header }), false)).rejects.toThrow(
      "model.safetensors: the safetensors header nests its values more than 100 levels deep",
    );
    expect(() => parseIndex(bytesOf(`{"weight_map":${deep}}`))).toThrow(/levels deep/);
    expect(() => readConfig(bytesOf(deep))).toThrow("config.json nests its values");
  });

  it("may carry a string of ten megabytes that nobody asks for", async () => {
    const { header } = layOutSafetensors([]);
    const text = new TextDecoder().decode(header.subarray(8)).replace('"pt"', `"${"x".repeat(10_000_000)}"`);
    const bytes = bytesOf(`        ${text}`);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
    await expect(readHeaders(reader({ "model.safetensors": bytes }), false)).resolves.toEqual({
      tensors: [],
      notes: [],
    });
  });

  it("are looked for in no file if the index names none", () => {
    expect(() => parseIndex(bytesOf('{"weight_map":{}}'))).toThrow(`${INDEX_FILE} names no tensors`);
  });

  it("and values of megabytes do not become the sentence", () => {
    const long = "x".repeat(3_000_000);
    for (const config of [{ architectures: long }, { model_type: [long] }, { quantization_config: long }]) {
      expect(messageOf(() => readConfig(bytesOf(JSON.stringify(config)))).length).toBeLessThan(500);
    }
    expect(messageOf(() => parseIndex(bytesOf(JSON.stringify({ weight_map: { [long]: long } }))))).toContain(
      "…",
    );
  });
});

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof Error ? error.message : "";
  }
  throw new Error("nothing was refused");
}
