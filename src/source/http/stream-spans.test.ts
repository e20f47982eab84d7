import { describe, expect, it } from "vitest";
import { testTransport } from "../../testing/sources/fast-retry.ts";
import { BYTES, content, never, serveOneFile } from "../../testing/sources/serve-one-file.ts";
import { type Span, streamSpans } from "./fetch-range.ts";

const served = serveOneFile();

/** Streams four equal spans and returns what came, joined. */
async function streamAll(file = served.fileOf("plain/model"), transport = testTransport()) {
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

const ranges = () => served.server.log.map(({ range }) => range);

describe("streamSpans", () => {
  it("cuts one request into spans as it streams", async () => {
    expect((await streamAll()).equals(content)).toBe(true);
    expect(ranges()).toEqual(["bytes=0-299999"]);
  });

  it("goes on at the last whole span after a break", async () => {
    served.server.faults.push({ fault: { kind: "reset", afterBytes: 160_000 }, times: 1 });
    expect((await streamAll()).equals(content)).toBe(true);
    expect(ranges()).toEqual(["bytes=0-299999", "bytes=150000-299999"]);
  });

  it("does not count breaks against it while it gets on", async () => {
    served.server.faults.push({ fault: { kind: "reset", afterBytes: 80_000 } });
    expect((await streamAll(undefined, testTransport({ retries: 1 }))).equals(content)).toBe(true);
    expect(ranges()).toHaveLength(4);
  });

  it("gives up a connection that breaks before every whole span", async () => {
    served.server.faults.push({ fault: { kind: "reset", afterBytes: 70_000 } });
    await expect(streamAll()).rejects.toThrow(/connection to .* keeps breaking while model\.safetensors/);
    expect(served.server.log).toHaveLength(7);
  });

  it("refuses a file that changes in the middle", async () => {
    served.server.faults.push({ fault: { kind: "reset", afterBytes: 80_000 }, times: 1 });
    served.server.faults.push({ fault: { kind: "etag", etag: '"v2"' } });
    await expect(streamAll()).rejects.toThrow(/its ETag has changed/);
  });

  it("stops after a span when told to, and drops the connection", async () => {
    const taken: Span[] = [];
    await streamSpans(
      testTransport(),
      served.fileOf("plain/model"),
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
