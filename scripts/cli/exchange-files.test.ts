import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openExchange } from "../../src/pipeline/sequential/exchange.ts";
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

let folder: string;
let files: FileExchange;
let server: Server;
let address: string;
const exchange = () => openExchange({ exchange: address }, async () => await Promise.resolve());
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "exchange-"));
  files = await openFileExchange({ index: 0, of: 2, folder, patienceSeconds: 0.2 });
  ({ server, address } = await serve(files));
});
afterAll(async () => {
  await files[Symbol.asyncDispose]();
  server.closeAllConnections();
  server.close();
});

describe("files between shares", () => {
  it("are whole, are counted, and are waited for", async () => {
    const taking = exchange().take("job/layer-0/sum", { from: 1, what: "its sums" });
    await exchange().put("job/layer-0/sum", [Uint8Array.of(1, 2), Uint8Array.of(3)]);
    expect([...(await taking)]).toEqual([1, 2, 3]);
    expect(files.moved).toEqual({ given: 3, taken: 3 });
    expect(await readdir(join(folder, "job/layer-0"))).toEqual(["sum"]);
    expect(await exchange().has("job/layer-0/sum")).toBe(true);
    await exchange().drop("job/layer-0/sum");
    expect(await exchange().has("job/layer-0/sum")).toBe(false);
  });

  it("of a share that gives no sign of life are missed with a sentence", async () => {
    await expect(exchange().take("job/never", { from: 1, what: "its Hessians of layer 3" })).rejects.toThrow(
      /^Share 2 of 2 has given no sign of life for \d+ s in .*, and share 1 waits for its Hessians of layer 3\. Start share 2 again/,
    );
    expect(await readFile(join(folder, "alive-1"), "utf8")).toMatch(/^\d+$/);
  });

  it("have names inside the folder", async () => {
    await expect(exchange().put("..%2Foutside", [])).rejects.toThrow(/is not the name of a file/);
  });
});
