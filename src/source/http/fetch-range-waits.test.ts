import { describe, expect, it } from "vitest";
import { IMPATIENT, testTransport } from "../../testing/sources/fast-retry.ts";
import { content, serveOneFile } from "../../testing/sources/serve-one-file.ts";
import { fetchRange } from "./fetch-range.ts";
import { RETRY_TIMING, type RetryTiming } from "./retry.ts";
import type { Traffic } from "./traffic.ts";

const served = serveOneFile();

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

describe("fetchRange, of a host that is busy or silent,", () => {
  it.each([408, 425, 429, 500, 503])("tries again after %i", async (status) => {
    served.server.faults.push({ fault: { kind: "status", status }, times: 2 });
    // A busy machine may take its time for an answer, which counts.
    const { longestRateLimitMs } = RETRY_TIMING;
    const bytes = await served.read(0, 10, undefined, testTransport({ longestRateLimitMs }));
    expect(bytes).toEqual(content.slice(0, 10));
    expect(served.server.log).toHaveLength(3);
  });

  it("gives up a status that does not pass, and names it", async () => {
    served.server.faults.push({ fault: { kind: "status", status: 503 } });
    await expect(served.read(0, 10)).rejects.toThrow(/answers 503 \(unavailable\) for model\.safetensors/);
    expect(served.server.log).toHaveLength(7);
  });

  it.each([
    ["7", 7],
    ["600", 600],
  ])("waits as long as Retry-After: %s says, and says so", async (header, shown) => {
    served.server.faults.push({ fault: { kind: "status", status: 429, headers: { "retry-after": header } } });
    const aborting = new AbortController();
    const { longestRetryAfterMs } = RETRY_TIMING;
    const { transport, told } = telling({ longestRetryAfterMs }, () => aborting.abort());
    const failure = fetchRange(
      transport,
      served.fileOf("plain/model"),
      { start: 0, end: 10 },
      aborting.signal,
    );
    await expect(failure).rejects.toMatchObject({ name: "AbortError" });
    const { host } = new URL(served.server.filesUrl);
    expect(told).toEqual([`waiting ${shown} s: ${host} answers 429 (too many requests), attempt 2 of 7`]);
    expect(transport.traffic.wait).toBeNull();
  });

  it.each([
    ["601", "11 minutes"],
    ["31536000", "365 days"],
    [new Date(Date.now() + 3_600_000 * 3.5).toUTCString(), "4 hours"],
  ])("answers at once what Retry-After: %s means", async (header, words) => {
    served.server.faults.push({ fault: { kind: "status", status: 503, headers: { "retry-after": header } } });
    const transport = testTransport({ longestRetryAfterMs: RETRY_TIMING.longestRetryAfterMs });
    await expect(served.read(0, 10, served.fileOf("plain/model"), transport)).rejects.toThrow(
      `asks not to be asked again for ${words}. Try again then`,
    );
    expect(served.server.log).toHaveLength(1);
  });

  it.each([
    ["two minutes", 0, "120 s"],
    ["as long as the Hub counts", 300_000, "300 s"],
  ])(
    "says of a 429 that does not tell how long that it is given up after %s",
    async (_, rateWindowMs, shown) => {
      served.server.faults.push({ fault: { kind: "status", status: 429 } });
      const { longestRateLimitMs } = RETRY_TIMING;
      const host = { ...served.fileOf("plain/model").host, rateWindowMs };
      const aborting = new AbortController();
      const { transport, told } = telling({ longestRateLimitMs }, () => aborting.abort());
      const failure = fetchRange(
        transport,
        served.fileOf("plain/model", { host }),
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
    served.server.faults.push({ fault: { kind: "status", status: 429 } });
    const { transport, told } = telling({ rateLimitDelayMs: 20, longestRateLimitMs: 100 });
    await expect(served.read(0, 10, served.fileOf("plain/model"), transport)).rejects.toThrow(
      /answers 429 \(too many requests\) for model\.safetensors, does not say for how long.* for 1 minute\. Go on later; if it happens again/,
    );
    // After 20 ms, 40, and what is left of 100.
    expect(told.length).toBeGreaterThan(0);
    expect(served.server.log.length).toBeLessThanOrEqual(5);
  });

  it.each([
    ["comes byte by byte", { kind: "drip", everyMs: 20 }, "sent nothing for N s, or next to nothing"],
    ["does not come", { kind: "stall", afterBytes: 100 }, "silent for N s; given up after N s"],
  ] as const)(
    "gives up a body that %s, tells so meanwhile, and tries three times",
    async (_, fault, words) => {
      served.server.faults.push({ fault });
      const { transport, told } = telling(IMPATIENT);
      await expect(served.read(0, 100_000, served.fileOf("plain/model"), transport)).rejects.toThrow(
        /does not go on sending model\.safetensors: 3 times .* less than 1 KiB a second/,
      );
      expect(served.server.log).toHaveLength(3);
      const said = told.join("\n").replace(/\b\d+ s\b/g, "N s");
      expect(said).toContain(words);
      expect(said).toContain("attempt 2 of 3");
    },
  );

  it("gives up a connection that stalls, and tries again", async () => {
    served.server.faults.push({ fault: { kind: "stall", afterBytes: 1000 }, times: 1 });
    const bytes = await served.read(0, 100_000, served.fileOf("plain/model"), testTransport(IMPATIENT));
    expect(Buffer.from(bytes).equals(content.subarray(0, 100_000))).toBe(true);
    expect(served.server.log).toHaveLength(2);
  });

  it("ends with the reason when it is aborted while a connection stalls", async () => {
    served.server.faults.push({ fault: { kind: "stall", afterBytes: 10 } });
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
      served.fileOf("plain/model"),
      { start: 0, end: 1000 },
      aborting.signal,
    );
    await expect(failure).rejects.toMatchObject({ name: "AbortError" });
  });
});
