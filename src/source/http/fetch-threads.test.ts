import { wrap } from "comlink";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ModelServer, startModelServer } from "../../../scripts/model-server/model-server.ts";
import { memoryModel } from "../../../scripts/model-server/served-model.ts";
import { BrokenThreadError } from "../../start-thread.ts";
import { testTransport } from "../../testing/sources/fast-retry.ts";
import type { Span } from "./fetch-range.ts";
import { fetchInThreads, type StreamSpans } from "./fetch-threads.ts";
import { webHost } from "./host.ts";
import { type FetcherApi, serveFetches } from "./serve-fetches.ts";

const BYTES = Uint8Array.from({ length: 5000 }, (_, index) => (index * 7 + (index >> 8)) & 255);
const PATH = "model.safetensors";
const SPANS = [0, 1000, 2000, 3000, 4000].map((start) => ({ start, end: start + 1000 }));
const ports: MessagePort[] = [];
let server: ModelServer;

beforeAll(async () => {
  const files = memoryModel({ "config.json": "{}", [PATH]: BYTES });
  server = await startModelServer({ models: { "my/model": { files } } });
});
afterAll(async () => {
  for (const port of ports) port.close();
  await server.close();
});

/** A thread that serves fetches behind a message port, as a worker's would. */
function thread(broken: Promise<never> = new Promise(() => undefined)) {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  serveFetches(port1);
  return { api: wrap<FetcherApi>(port2), broken };
}

function fileOf(path: string) {
  const url = `${server.filesUrl}/my/model/${path}`;
  return { path, url, host: webHost(url), bytes: BYTES.byteLength, validator: null };
}

/** Streams all spans; what came, with the buffers that were given for it. */
async function stream(
  through: StreamSpans,
  path = PATH,
  enough = SPANS.length,
  signal = new AbortController().signal,
) {
  const transport = testTransport();
  const came: Uint8Array[] = [];
  let rooms = 0;
  const streaming = through(transport, fileOf(path), SPANS, {
    signal,
    stop: () => came.length >= enough,
    room: ({ start, end }: Span) => {
      rooms++;
      return new ArrayBuffer(end - start + (start === 0 ? 24 : 0));
    },
    take: async (span, bytes) => {
      expect(bytes).toEqual(BYTES.slice(span.start, span.end));
      came.push(bytes);
      await Promise.resolve();
    },
  });
  await streaming;
  return { came, rooms, downloaded: transport.traffic.downloadedBytes };
}

it("brings every span in order, in the memory that was given for it, and counts what came", async () => {
  const { came, rooms, downloaded } = await stream(fetchInThreads(() => thread(), 3));
  expect(came.map(({ byteLength }) => byteLength)).toEqual(SPANS.map(() => 1000));
  expect(came[0]?.buffer.byteLength).toBe(1024);
  expect([rooms, downloaded]).toEqual([5, 5000]);
});

it("ends when enough has come, in words where the server has no such file, and when it is aborted", async () => {
  const through = fetchInThreads(() => thread(), 3);
  expect((await stream(through, PATH, 2)).came).toHaveLength(2);
  await expect(stream(through, "absent.safetensors")).rejects.toThrow(/has no absent\.safetensors/);
  const ended = new AbortController();
  ended.abort(new Error("ended by us"));
  await expect(stream(through, PATH, 5, ended.signal)).rejects.toThrow("ended by us");
});

it("goes on itself where a thread breaks down", async () => {
  const broken = Promise.reject(new BrokenThreadError("The thread fetcher broke down."));
  broken.catch(() => undefined);
  const { api } = thread();
  const silent = {
    ...api,
    stream: async () => await new Promise<void>(() => undefined),
    abort: () => undefined,
  };
  const { came } = await stream(fetchInThreads(() => ({ api: silent as unknown as typeof api, broken }), 3));
  expect(came).toHaveLength(5);
});
