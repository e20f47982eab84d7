import { readFile } from "node:fs/promises";
import { afterEach, describe, expect, it } from "vitest";
import {
  HEADER_PREFIX_BYTES,
  parseHeader,
  parseHeaderLength,
} from "../../src/formats/safetensors/safetensors.ts";
import { type ModelServer, startModelServer } from "./model-server.ts";
import { folderModel, type ServedFile } from "./served-model.ts";
import { syntheticModel, weightBytes } from "./synthetic-model.ts";

const SIZES = { hidden: 64, intermediate: 160, heads: 4, kvHeads: 2, vocab: 300 } as const;
const sample = new URL("../../public/sample/", import.meta.url).pathname;
const servers: ModelServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function serve(models: Parameters<typeof startModelServer>[0]["models"]) {
  const server = await startModelServer({ models });
  servers.push(server);
  return server;
}

async function bytesOf(file: ServedFile | undefined, start = 0, end = file?.bytes ?? 0) {
  const pieces: Uint8Array[] = [];
  for await (const piece of file?.read(start, end) ?? []) pieces.push(piece);
  return new Uint8Array(Buffer.concat(pieces));
}

describe("folderModel", () => {
  it("serves the files of a folder as they lie on disk", async () => {
    const files = await folderModel(sample);
    const server = await serve({ "my/sample": { files } });
    const url = `${server.filesUrl}/my/sample/model-00001-of-00003.safetensors`;
    const whole = await readFile(`${sample}model-00001-of-00003.safetensors`);
    const response = await fetch(url, { headers: { range: "bytes=100-1099999" } });
    expect(response.status).toBe(206);
    expect(response.headers.get("content-range")).toBe(`bytes 100-1099999/${whole.byteLength}`);
    expect(whole.subarray(100, 1_100_000).equals(new Uint8Array(await response.arrayBuffer()))).toBe(true);
    expect((await fetch(`${server.filesUrl}/my/sample/no.txt`)).status).toBe(404);
  });
});

describe("syntheticModel", () => {
  it.each([2, 24])("makes a whole llama of %i layers, in shards", async (layers) => {
    const model = syntheticModel({ ...SIZES, layers, dtype: "BF16", shards: 3 });
    const shards = [...model].filter(([path]) => path.endsWith(".safetensors"));
    const entries = await Promise.all(
      shards.map(async ([path, file]) => {
        const length = parseHeaderLength(path, await bytesOf(file, 0, HEADER_PREFIX_BYTES), file.bytes);
        const header = await bytesOf(file, HEADER_PREFIX_BYTES, HEADER_PREFIX_BYTES + length);
        return parseHeader(path, header, file.bytes);
      }),
    );
    expect(shards).toHaveLength(3);
    expect(entries.flat()).toHaveLength(3 + 9 * layers);
    expect(weightBytes(model)).toBe(shards.reduce((sum, [, file]) => sum + file.bytes, 0));
    const index = JSON.parse(
      new TextDecoder().decode(await bytesOf(model.get("model.safetensors.index.json"))),
    );
    expect(Object.keys(index.weight_map)).toHaveLength(3 + 9 * layers);
  });

  it("serves the same bytes for a range as for the whole, and finite weights", async () => {
    const file = syntheticModel({ ...SIZES, layers: 40, dtype: "BF16" }).get("model.safetensors");
    const whole = await bytesOf(file);
    expect(whole.byteLength).toBeGreaterThan(3_000_000);
    const part = await bytesOf(file, 2_000_001, 3_000_000);
    expect(Buffer.from(part).equals(whole.subarray(2_000_001, 3_000_000))).toBe(true);
    const values = new Uint16Array(whole.buffer, whole.byteLength - 100_000, 50_000);
    expect(values.every((bits) => (bits & 0x7f80) !== 0x7f80)).toBe(true);
    expect(new Set(values).size).toBeGreaterThan(100);
  });
});

describe("startModelServer", () => {
  it("refuses preflights at the CDN and allows them at the Hub", async () => {
    const server = await serve({});
    const preflight = async (url: string) => (await fetch(url, { method: "OPTIONS" })).status;
    expect(await preflight(`${server.cdnUrl}/my/model/x`)).toBe(403);
    expect(await preflight(`${server.hubUrl}/my/model/resolve/main/x`)).toBe(204);
  });

  it("serves nothing from the CDN without a signature", async () => {
    const server = await serve({ "my/sample": { files: await folderModel(sample) } });
    expect((await fetch(`${server.cdnUrl}/my/sample/tokenizer.json`)).status).toBe(403);
  });
});
