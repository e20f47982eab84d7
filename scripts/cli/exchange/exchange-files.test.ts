import { randomUUID } from "node:crypto";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  type ExchangeWindow,
  SLOT_BYTES,
  SLOTS,
  WINDOW_BYTES,
  type WindowSlot,
} from "../../../src/formats/files/exchange-window.ts";
import { type Exchange, openExchange } from "../../../src/pipeline/sequential/exchange/exchange.ts";
import { EXCHANGE_PATH, type FileExchange, openFileExchange } from "./exchange-files.ts";

type Middleware = (request: object, response: object) => void;

/** A server that has one plugin of Vite's preview. */
async function serve({ plugin }: FileExchange): Promise<{ server: Server; address: string }> {
  let use: Middleware = () => undefined;
  const preview = { middlewares: { use: (_: string, middleware: Middleware) => (use = middleware) } };
  const configure = plugin.configurePreviewServer;
  if (typeof configure !== "function") throw new Error("the plugin answers a preview server");
  await configure.call({} as never, preview as never);
  const server = createServer((request, response) => {
    request.url = (request.url ?? "").slice(EXCHANGE_PATH.length - 1);
    use(request, response);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return { server, address: `http://127.0.0.1:${(server.address() as AddressInfo).port}${EXCHANGE_PATH}` };
}

/** A window as the page makes one, in a folder of a profile. */
async function openWindow(profile: string): Promise<ExchangeWindow> {
  const mark = randomUUID();
  await mkdir(join(profile, "Default/File System"), { recursive: true });
  const path = join(profile, "Default/File System/00000001");
  await writeFile(path, mark);
  await truncate(path, WINDOW_BYTES);
  const file = openSync(path, "r+");
  const slot: WindowSlot = {
    index: SLOTS - 1,
    write: (bytes, at) => void writeSync(file, bytes, 0, bytes.byteLength, (SLOTS - 1) * SLOT_BYTES + at),
    read: (to, at) => void readSync(file, to, 0, to.byteLength, (SLOTS - 1) * SLOT_BYTES + at),
  };
  return { mark, lend: async (use) => await use(slot), [Symbol.dispose]: () => closeSync(file) };
}

let folder: string;
let files: FileExchange;
let server: Server;
let window: ExchangeWindow;
const exchanges = new Map<string, Exchange>();
const exchange = (way = "bodies"): Exchange => {
  const opened = exchanges.get(way);
  if (!opened) throw new Error(`no exchange by ${way}`);
  return opened;
};
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "exchange-"));
  const profile = join(folder, "profile");
  files = await openFileExchange({ index: 0, of: 2, folder, patienceSeconds: 600 }, profile);
  let address: string;
  ({ server, address } = await serve(files));
  const open = async (through: ExchangeWindow | null) =>
    await openExchange({ exchange: address }, async () => await Promise.resolve(), through);
  window = await openWindow(profile);
  exchanges.set("bodies", await open(null));
  exchanges.set("a window", await open(window));
});
afterAll(async () => {
  await files[Symbol.asyncDispose]();
  window[Symbol.dispose]();
  server.closeAllConnections();
  server.close();
});

describe("files between shares", () => {
  it.each(["bodies", "a window"])("by %s are whole, are counted, and are waited for", async (way) => {
    const before = { ...files.moved };
    const taking = exchange(way).take("job/layer-0/sum", { from: 1, what: "its sums" });
    await exchange().put("job/layer-0/sum", [Uint8Array.of(1, 2), Uint8Array.of(3)]);
    expect([...(await taking)]).toEqual([1, 2, 3]);
    expect(files.moved).toMatchObject({ given: before.given + 3, taken: before.taken + 3 });
    expect(await readdir(join(folder, "job/layer-0"))).toEqual(["sum"]);
    expect(await exchange(way).has("job/layer-0/sum")).toBe(true);
    await exchange(way).drop(["job/layer-0/sum"]);
    expect(await exchange(way).has("job/layer-0/sum")).toBe(false);
  });

  it("larger than a slot go through a window in parts", async () => {
    const before = { ...files.moved };
    const bytes = new Uint8Array(SLOT_BYTES + 5).fill(3);
    bytes.set([4, 5, 6, 7], SLOT_BYTES - 2);
    await exchange("a window").put("job/module", [bytes.subarray(0, 7), bytes.subarray(7)]);
    expect(files.moved.given - before.given).toBe(bytes.byteLength);
    expect((await readFile(join(folder, "job/module"))).equals(bytes)).toBe(true);
    const taken = await exchange("a window").take("job/module", { from: 1, what: "it" });
    expect(Buffer.from(taken).equals(bytes)).toBe(true);
    expect(await readdir(join(folder, "job"))).not.toContain("module.draft-1");
  });

  it.each(["bodies", "a window"])(
    "that are short go by %s part by part, and have their length",
    async (way) => {
      const file = { name: "job/layer-1/piece", bytes: 5 };
      const wanted = { from: 1, what: "its sums" };
      const seen: number[] = [];
      const read = async (own: { readonly name: string; readonly bytes: number }) =>
        await exchange(way).takeShort(own, wanted, async (take) => {
          for (const [at, length] of [
            [3, 2],
            [0, 3],
          ] as const) {
            const part = new Uint8Array(length);
            take(part, at);
            seen.push(...(await Promise.resolve(part)));
          }
        });
      const reading = read(file);
      await exchange(way).putShort(file, async (write) => {
        write(Uint8Array.of(4, 5), 3);
        write(Uint8Array.of(1, 2, 3), await Promise.resolve(0));
      });
      await reading;
      expect(seen).toEqual([4, 5, 1, 2, 3]);
      await expect(read({ ...file, bytes: 6 })).rejects.toThrow(
        /has 5 bytes where 6 are due\. Delete the exchange folder/,
      );
      const check = () => {
        throw new Error("what this share gives does not go");
      };
      const waiting = exchange(way).takeShort(
        file,
        { ...wanted, check },
        async () => await Promise.resolve(),
      );
      await expect(waiting).rejects.toThrow("does not go");
      await exchange(way).drop([file.name, "job/never"]);
      expect(await exchange(way).has(file.name)).toBe(false);
    },
  );

  it("go in bodies where the window is not found", async () => {
    const mark = window.mark.replace(/^./, (digit) => (digit === "0" ? "1" : "0"));
    const { port } = server.address() as AddressInfo;
    const address = `http://127.0.0.1:${port}${EXCHANGE_PATH}`;
    const through = await openExchange({ exchange: address }, async () => await Promise.resolve(), {
      ...window,
      mark,
    });
    await through.put("job/other", [Uint8Array.of(9)]);
    expect([...(await readFile(join(folder, "job/other")))]).toEqual([9]);
  });

  it("of a share that gives no sign of life are missed with a sentence", async () => {
    await using hasty = await openFileExchange({ index: 0, of: 2, folder, patienceSeconds: 0.2 }, folder);
    const { server: alone, address } = await serve(hasty);
    const waiting = await openExchange({ exchange: address }, async () => await Promise.resolve(), null);
    await expect(waiting.take("job/never", { from: 1, what: "its Hessians of layer 3" })).rejects.toThrow(
      /^Share 2 of 2 has given no sign of life for \d+ s in .*, and share 1 waits for its Hessians of layer 3\. Start share 2 again/,
    );
    expect(await readFile(join(folder, "alive-1"), "utf8")).toMatch(/^\d+ (job)?$/);
    alone.closeAllConnections();
    alone.close();
  });

  it("of a share that is at work on another job are missed, too, although it lives", async () => {
    const place = await mkdtemp(join(tmpdir(), "exchange-"));
    const shared = { of: 2, folder: place, patienceSeconds: 1.5 };
    await using first = await openFileExchange({ ...shared, index: 0 }, place);
    await using second = await openFileExchange({ ...shared, index: 1 }, place);
    const [one, two] = [await serve(first), await serve(second)];
    const open = async ({ address }: { readonly address: string }) =>
      await openExchange({ exchange: address }, async () => await Promise.resolve(), null);
    await (await open(two)).put("other/layer-0/sum", [Uint8Array.of(1)]);
    const waiting = (await open(one)).take("job/layer-0/sum", { from: 1, what: "its sums" });
    await expect(waiting).rejects.toThrow(
      /^Share 2 of 2 is at work on another job in .*, and share 1 waits for its sums\. .* one command, but for --share and --out\.$/,
    );
    for (const { server: each } of [one, two]) {
      each.closeAllConnections();
      each.close();
    }
  });

  it("of a share that gives none leave no folder, unless another share has something there", async () => {
    const place = join(folder, "made/for/it");
    const shared = { of: 2, folder: place, patienceSeconds: 600 };
    const refused = await openFileExchange({ ...shared, index: 0 }, folder);
    await refused[Symbol.asyncDispose]();
    expect(await readdir(folder)).not.toContain("made");
    const first = await openFileExchange({ ...shared, index: 0 }, folder);
    const second = await openFileExchange({ ...shared, index: 1 }, folder);
    await writeFile(join(place, "of another share"), "");
    await first[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
    expect(await readdir(place)).toEqual(["of another share"]);
  });

  it("give no signs of life once what an earlier run left cannot be removed, which is told", async () => {
    const place = join(folder, "refused");
    await mkdir(join(place, "spare-1-kept/by another"), { recursive: true });
    const shared = { index: 0, of: 2, folder: place, patienceSeconds: 600 };
    using begun = vi.spyOn(globalThis, "setInterval");
    using ended = vi.spyOn(globalThis, "clearInterval");
    await expect(openFileExchange(shared, folder)).rejects.toThrow(/spare-1-kept/);
    expect(ended.mock.calls).toEqual(begun.mock.results.map(({ value }) => [value]));
    expect(begun).toHaveBeenCalledOnce();
    expect(await readdir(place)).toEqual(["spare-1-kept"]);
  });

  it("have names inside the folder", async () => {
    await expect(exchange().put("..%2Foutside", [])).rejects.toThrow(/is not the name of a file/);
  });
});
