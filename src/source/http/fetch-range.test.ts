import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type ModelServer, startModelServer } from "../../../scripts/model-server/model-server.ts";
import { memoryModel } from "../../../scripts/model-server/served-model.ts";
import { AccessError, NetworkError } from "../../errors.ts";
import { IMPATIENT, testTransport } from "../../testing/sources/fast-retry.ts";
import { fetchRange, parseContentRange, type RemoteFile, type Span, streamSpans } from "./fetch-range.ts";
import { webHost } from "./host.ts";
import { RETRY_TIMING, type RetryTiming } from "./retry.ts";
import type { Traffic } from "./traffic.ts";

const BYTES = 300_000;
const content = Uint8Array.from({ length: BYTES }, (_, index) => (index * 31 + (index >> 8)) & 255);
const model = memoryModel({ "model.safetensors": content });
const never = new AbortController().signal;
let server: ModelServer;

beforeAll(async () => {
  server = await startModelServer({
    models: { "plain/model": { files: model }, "moved/model": { files: model, redirect: true } },
  });
});
afterAll(async () => {
  await server.close();
});
afterEach(() => {
  server.faults.length = 0;
  server.log.length = 0;
});

function fileOf(repository: string, changes: Partial<RemoteFile> = {}): RemoteFile {
  const url = `${server.filesUrl}/${repository}/model.safetensors`;
  const validator = model.get("model.safetensors")?.etag ?? null;
  return { path: "model.safetensors", url, host: webHost(url), bytes: BYTES, validator, ...changes };
}

async function read(start: number, end: number, file = fileOf("plain/model"), transport = testTransport()) {
  return await fetchRange(transport, file, { start, end }, never);
}

/** Streams four equal spans and returns what came, joined. */
async function streamAll(file = fileOf("plain/model"), transport = testTransport()) {
  const quarter = BYTES / 4;
  const spans = [0, 1, 2, 3].map((index) => ({ start: index * quarter, end: (index + 1) * quarter }));
  const taken: [Span, Uint8Array][] = [];
  await streamSpans(transport, file, spans, {
    signal: never,
    stop: () => false,
    take: async (span, bytes) => {
      taken.push([span, bytes]);
    },
  });
  expect(taken.map(([span]) => span)).toEqual(spans);
  return Buffer.concat(taken.map(([, bytes]) => bytes));
}

/** A transport that tells what it waits for. */
function telling(timing: Partial<RetryTiming>, heard: () => void = () => undefined) {
  const transport = testTransport(timing);
  const told: string[] = [];
  const traffic: Traffic = {
    ...transport.traffic,
    waiting: (task, sentence) => {
      transport.traffic.waiting(task, sentence);
      if (sentence === null) return;
      told.push(sentence);
      queueMicrotask(heard);
    },
  };
  return { transport: { ...transport, traffic }, told };
}

const ranges = () => server.log.map(({ range }) => range);

describe("fetchRange", () => {
  it("asks for one closed range and returns exactly these bytes", async () => {
    expect(await read(1000, 1010)).toEqual(content.slice(1000, 1010));
    expect(server.log).toMatchObject([
      { method: "GET", range: "bytes=1000-1009", referer: null, status: 206 },
    ]);
    expect(await read(BYTES - 1, BYTES)).toEqual(content.slice(BYTES - 1));
    expect(await read(7, 7)).toEqual(new Uint8Array(0));
  });

  it("follows a redirect to another origin", async () => {
    expect(await read(0, 5, fileOf("moved/model"))).toEqual(content.slice(0, 5));
    expect(server.log.map(({ origin }) => origin)).toEqual(["files", "cdn"]);
  });

  it("counts the bytes that came over the network", async () => {
    const transport = testTransport();
    await read(0, 5000, undefined, transport);
    expect(transport.traffic.downloadedBytes).toBe(5000);
    expect(transport.traffic.bytesPerSecond()).toBeGreaterThan(0);
  });

  it("refuses a 200 where a 206 was due, without reading the body", async () => {
    server.faults.push({ fault: { kind: "ignore-range" } });
    const transport = testTransport();
    await expect(read(10, 20, undefined, transport)).rejects.toThrow(NetworkError);
    await expect(read(10, 20)).rejects.toThrow(/ignores byte ranges.*drop the folder/);
    expect(transport.traffic.downloadedBytes).toBe(0);
    expect(server.log).toHaveLength(2);
  });

  it("asks again for a short body, and refuses when it stays short", async () => {
    server.faults.push({ fault: { kind: "short", bytes: 6 }, times: 2 });
    expect(await read(0, 10)).toEqual(content.slice(0, 10));
    server.faults.push({ fault: { kind: "short", bytes: 6 } });
    await expect(read(0, 10)).rejects.toThrow(/sends fewer bytes of model\.safetensors/);
  });

  it("refuses other bytes than those asked for", async () => {
    server.faults.push({ fault: { kind: "wrong-range" } });
    await expect(read(0, 10)).rejects.toThrow(/other bytes of model\.safetensors.*bytes 1-10/);
  });

  it("refuses a file whose ETag or size has changed since it was opened", async () => {
    server.faults.push({ fault: { kind: "etag", etag: '"v2"' } });
    await expect(read(0, 10)).rejects.toThrow(/no longer the file that was opened: its ETag/);
    expect(server.log).toHaveLength(1);
    server.faults.length = 0;
    await expect(read(0, 10, fileOf("plain/model", { bytes: BYTES + 1 }))).rejects.toThrow(/its size/);
  });

  it("does without Content-Range and ETag where CORS hides them", async () => {
    server.faults.push({ fault: { kind: "bare" } });
    expect(await read(3, 9)).toEqual(content.slice(3, 9));
  });

  it.each([408, 425, 429, 500, 503])("tries again after %i", async (status) => {
    server.faults.push({ fault: { kind: "status", status }, times: 2 });
    expect(await read(0, 10)).toEqual(content.slice(0, 10));
    expect(server.log).toHaveLength(3);
  });

  it("gives up a status that does not pass, and names it", async () => {
    server.faults.push({ fault: { kind: "status", status: 503 } });
    await expect(read(0, 10)).rejects.toThrow(/answers 503 \(unavailable\) for model\.safetensors/);
    expect(server.log).toHaveLength(7);
  });

  it.each([
    ["7", 7],
    ["600", 600],
  ])("waits as long as Retry-After: %s says, and says so", async (header, shown) => {
    server.faults.push({ fault: { kind: "status", status: 429, headers: { "retry-after": header } } });
    const aborting = new AbortController();
    const { longestRetryAfterMs } = RETRY_TIMING;
    const { transport, told } = telling({ longestRetryAfterMs }, () => aborting.abort());
    const failure = fetchRange(transport, fileOf("plain/model"), { start: 0, end: 10 }, aborting.signal);
    await expect(failure).rejects.toMatchObject({ name: "AbortError" });
    const { host } = new URL(server.filesUrl);
    expect(told).toEqual([`waiting ${shown} s: ${host} answers 429 (too many requests), attempt 2 of 7`]);
    expect(transport.traffic.wait).toBeNull();
  });

  it.each([
    ["601", "11 minutes"],
    ["31536000", "365 days"],
    [new Date(Date.now() + 3_600_000 * 3.5).toUTCString(), "4 hours"],
  ])("answers at once what Retry-After: %s means", async (header, words) => {
    server.faults.push({ fault: { kind: "status", status: 503, headers: { "retry-after": header } } });
    const transport = testTransport({ longestRetryAfterMs: RETRY_TIMING.longestRetryAfterMs });
    await expect(read(0, 10, fileOf("plain/model"), transport)).rejects.toThrow(
      `asks not to be asked again for ${words}. Try again then`,
    );
    expect(server.log).toHaveLength(1);
  });

  it.each([
    ["two minutes", 0, "120 s"],
    ["as long as the Hub counts", 300_000, "300 s"],
  ])(
    "says of a 429 that does not tell how long that it is given up after %s",
    async (_, rateWindowMs, shown) => {
      server.faults.push({ fault: { kind: "status", status: 429 } });
      const { longestRateLimitMs } = RETRY_TIMING;
      const host = { ...fileOf("plain/model").host, rateWindowMs };
      const aborting = new AbortController();
      const { transport, told } = telling({ longestRateLimitMs }, () => aborting.abort());
      const failure = fetchRange(
        transport,
        fileOf("plain/model", { host }),
        { start: 0, end: 10 },
        aborting.signal,
      );
      await expect(failure).rejects.toMatchObject({ name: "AbortError" });
      expect(told).toEqual([
        `waiting 1 s: ${host.name} answers 429 (too many requests), attempt 2, given up after ${shown}`,
      ]);
    },
  );

  it("gives up a host that goes on answering 429, and says what to do", async () => {
    server.faults.push({ fault: { kind: "status", status: 429 } });
    const { transport, told } = telling({ rateLimitDelayMs: 20, longestRateLimitMs: 100 });
    await expect(read(0, 10, fileOf("plain/model"), transport)).rejects.toThrow(
      /answers 429 \(too many requests\) for model\.safetensors, does not say for how long.* Go on later; if it happens again/,
    );
    // After 20 ms, 40, and what is left of 100.
    expect(told.length).toBeGreaterThan(0);
    expect(server.log.length).toBeLessThanOrEqual(5);
  });

  it.each([
    ["comes byte by byte", { kind: "drip", everyMs: 20 }, "sent nothing for N s, or next to nothing"],
    ["does not come", { kind: "stall", afterBytes: 100 }, "silent for N s; given up after N s"],
  ] as const)(
    "gives up a body that %s, tells so meanwhile, and tries three times",
    async (_, fault, words) => {
      server.faults.push({ fault });
      const { transport, told } = telling(IMPATIENT);
      await expect(read(0, 100_000, fileOf("plain/model"), transport)).rejects.toThrow(
        /does not go on sending model\.safetensors: 3 times .* less than 1 KiB a second/,
      );
      expect(server.log).toHaveLength(3);
      const said = told.join("\n").replace(/\b\d+ s\b/g, "N s");
      expect(said).toContain(words);
      expect(said).toContain("attempt 2 of 3");
    },
  );

  it.each([
    [401, /refuses model\.safetensors \(401\).*login/],
    [403, /refuses model\.safetensors \(403\)/],
    [404, /has no model\.safetensors at this address \(404\)/],
  ])("takes %i for an answer", async (status, message) => {
    server.faults.push({ fault: { kind: "status", status } });
    const failure = read(0, 10);
    await expect(failure).rejects.toThrow(AccessError);
    await expect(failure).rejects.toThrow(message);
    expect(server.log).toHaveLength(1);
  });

  it("has an expired signed address signed anew, once", async () => {
    server.faults.push({ origin: "cdn", fault: { kind: "status", status: 403 }, times: 1 });
    expect(await read(0, 10, fileOf("moved/model"))).toEqual(content.slice(0, 10));
    expect(server.log.map(({ origin }) => origin)).toEqual(["files", "cdn", "files", "cdn"]);
    server.faults.push({ origin: "cdn", fault: { kind: "status", status: 403 } });
    await expect(read(0, 10, fileOf("moved/model"))).rejects.toThrow(AccessError);
    expect(server.log).toHaveLength(8);
  });

  it("names what may be wrong when a host does not answer", async () => {
    const closed = await startModelServer({ models: {} });
    await closed.close();
    const url = `${closed.filesUrl}/model.safetensors`;
    await expect(read(0, 10, fileOf("plain/model", { url, host: webHost(url) }))).rejects.toThrow(
      /cannot be reached from this page.*offline.*no CORS/,
    );
  });

  it("gives up a connection that stalls, and tries again", async () => {
    server.faults.push({ fault: { kind: "stall", afterBytes: 1000 }, times: 1 });
    const bytes = await read(0, 100_000, fileOf("plain/model"), testTransport(IMPATIENT));
    expect(Buffer.from(bytes).equals(content.subarray(0, 100_000))).toBe(true);
    expect(server.log).toHaveLength(2);
  });

  it("ends with the reason when it is aborted while a connection stalls", async () => {
    server.faults.push({ fault: { kind: "stall", afterBytes: 10 } });
    const aborting = new AbortController();
    const transport = testTransport();
    const { received } = transport.traffic;
    const meter = {
      ...transport.traffic,
      received: (bytes: number) => {
        received(bytes);
        aborting.abort();
      },
    };
    const failure = fetchRange(
      { ...transport, traffic: meter },
      fileOf("plain/model"),
      { start: 0, end: 1000 },
      aborting.signal,
    );
    await expect(failure).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("streamSpans", () => {
  it("cuts one request into spans as it streams", async () => {
    expect((await streamAll()).equals(content)).toBe(true);
    expect(ranges()).toEqual(["bytes=0-299999"]);
  });

  it("goes on at the last whole span after a break", async () => {
    server.faults.push({ fault: { kind: "reset", afterBytes: 160_000 }, times: 1 });
    expect((await streamAll()).equals(content)).toBe(true);
    expect(ranges()).toEqual(["bytes=0-299999", "bytes=150000-299999"]);
  });

  it("does not count breaks against it while it gets on", async () => {
    server.faults.push({ fault: { kind: "reset", afterBytes: 80_000 } });
    expect((await streamAll(undefined, testTransport({ retries: 1 }))).equals(content)).toBe(true);
    expect(ranges()).toHaveLength(4);
  });

  it("gives up a connection that breaks before every whole span", async () => {
    server.faults.push({ fault: { kind: "reset", afterBytes: 70_000 } });
    await expect(streamAll()).rejects.toThrow(/connection to .* keeps breaking while model\.safetensors/);
    expect(server.log).toHaveLength(7);
  });

  it("refuses a file that changes in the middle", async () => {
    server.faults.push({ fault: { kind: "reset", afterBytes: 80_000 }, times: 1 });
    server.faults.push({ fault: { kind: "etag", etag: '"v2"' } });
    await expect(streamAll()).rejects.toThrow(/its ETag has changed/);
  });

  it("stops after a span when told to, and drops the connection", async () => {
    const taken: Span[] = [];
    await streamSpans(
      testTransport(),
      fileOf("plain/model"),
      [
        { start: 0, end: 10 },
        { start: 10, end: 20 },
      ],
      {
        signal: never,
        stop: () => taken.length === 1,
        take: async (span) => {
          taken.push(span);
        },
      },
    );
    expect(taken).toEqual([{ start: 0, end: 10 }]);
  });
});

describe("parseContentRange", () => {
  it("reads bounds and total, and nothing else", () => {
    expect(parseContentRange("bytes 0-99/1000")).toEqual({ start: 0, end: 100, total: 1000 });
    expect(parseContentRange("bytes 5-5/*")).toEqual({ start: 5, end: 6, total: null });
    for (const bad of ["", "bytes */1000", "bytes 0-/1", "bytes 0-99/99999999999999999", "items 0-1/2"]) {
      expect(parseContentRange(bad)).toBeNull();
    }
  });
});
