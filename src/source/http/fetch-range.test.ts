import { describe, expect, it } from "vitest";
import { startModelServer } from "../../../scripts/model-server/model-server.ts";
import { AccessError, NetworkError } from "../../errors.ts";
import { testTransport } from "../../testing/sources/fast-retry.ts";
import { BYTES, content, serveOneFile } from "../../testing/sources/serve-one-file.ts";
import { parseContentRange } from "./fetch-range.ts";
import { webHost } from "./host.ts";

const served = serveOneFile();

describe("fetchRange", () => {
  it("asks for one closed range and returns exactly these bytes", async () => {
    expect(await served.read(1000, 1010)).toEqual(content.slice(1000, 1010));
    expect(served.server.log).toMatchObject([
      { method: "GET", range: "bytes=1000-1009", referer: null, status: 206 },
    ]);
    expect(await served.read(BYTES - 1, BYTES)).toEqual(content.slice(BYTES - 1));
    expect(await served.read(7, 7)).toEqual(new Uint8Array(0));
  });

  it("follows a redirect to another origin", async () => {
    expect(await served.read(0, 5, served.fileOf("moved/model"))).toEqual(content.slice(0, 5));
    expect(served.server.log.map(({ origin }) => origin)).toEqual(["files", "cdn"]);
  });

  it("counts the bytes that came over the network", async () => {
    const transport = testTransport();
    await served.read(0, 5000, undefined, transport);
    expect(transport.traffic.downloadedBytes).toBe(5000);
    expect(transport.traffic.bytesPerSecond()).toBeGreaterThan(0);
  });

  it("refuses a 200 where a 206 was due, without reading the body", async () => {
    served.server.faults.push({ fault: { kind: "ignore-range" } });
    const transport = testTransport();
    await expect(served.read(10, 20, undefined, transport)).rejects.toThrow(NetworkError);
    await expect(served.read(10, 20)).rejects.toThrow(/ignores byte ranges.*drop the folder/);
    expect(transport.traffic.downloadedBytes).toBe(0);
    expect(served.server.log).toHaveLength(2);
  });

  it("asks again for a short body, and refuses when it stays short", async () => {
    served.server.faults.push({ fault: { kind: "short", bytes: 6 }, times: 2 });
    expect(await served.read(0, 10)).toEqual(content.slice(0, 10));
    served.server.faults.push({ fault: { kind: "short", bytes: 6 } });
    await expect(served.read(0, 10)).rejects.toThrow(/sends fewer bytes of model\.safetensors/);
  });

  it("refuses other bytes than those asked for", async () => {
    served.server.faults.push({ fault: { kind: "wrong-range" } });
    await expect(served.read(0, 10)).rejects.toThrow(/other bytes of model\.safetensors.*bytes 1-10/);
  });

  it("refuses a file whose ETag or size has changed since it was opened", async () => {
    served.server.faults.push({ fault: { kind: "etag", etag: '"v2"' } });
    await expect(served.read(0, 10)).rejects.toThrow(/no longer the file that was opened: its ETag/);
    expect(served.server.log).toHaveLength(1);
    served.server.faults.length = 0;
    await expect(served.read(0, 10, served.fileOf("plain/model", { bytes: BYTES + 1 }))).rejects.toThrow(
      /its size/,
    );
  });

  it("does without Content-Range and ETag where CORS hides them", async () => {
    served.server.faults.push({ fault: { kind: "bare" } });
    expect(await served.read(3, 9)).toEqual(content.slice(3, 9));
  });

  it.each([
    [401, /refuses model\.safetensors \(401\).*login/],
    [403, /refuses model\.safetensors \(403\)/],
    [404, /has no model\.safetensors at this address \(404\)/],
  ])("takes %i for an answer", async (status, message) => {
    served.server.faults.push({ fault: { kind: "status", status } });
    const failure = served.read(0, 10);
    await expect(failure).rejects.toThrow(AccessError);
    await expect(failure).rejects.toThrow(message);
    expect(served.server.log).toHaveLength(1);
  });

  it("has an expired signed address signed anew, once", async () => {
    served.server.faults.push({ origin: "cdn", fault: { kind: "status", status: 403 }, times: 1 });
    expect(await served.read(0, 10, served.fileOf("moved/model"))).toEqual(content.slice(0, 10));
    expect(served.server.log.map(({ origin }) => origin)).toEqual(["files", "cdn", "files", "cdn"]);
    served.server.faults.push({ origin: "cdn", fault: { kind: "status", status: 403 } });
    await expect(served.read(0, 10, served.fileOf("moved/model"))).rejects.toThrow(AccessError);
    expect(served.server.log).toHaveLength(8);
  });

  it("names what may be wrong when a host does not answer", async () => {
    const closed = await startModelServer({ models: {} });
    await closed.close();
    const url = `${closed.filesUrl}/model.safetensors`;
    await expect(
      served.read(0, 10, served.fileOf("plain/model", { url, host: webHost(url) })),
    ).rejects.toThrow(/cannot be reached from this page.*offline.*no CORS/);
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
