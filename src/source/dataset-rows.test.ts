import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, expect, it } from "vitest";
import { AccessError } from "../errors.ts";
import { testTransport } from "../testing/sources/fast-retry.ts";
import { datasetRows } from "./dataset-rows.ts";

const TOTAL = 230;
const asked: string[] = [];
let server: Server;
let url = "";
const never = new AbortController().signal;

beforeAll(async () => {
  server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
    asked.push(request.url ?? "");
    const name = searchParams.get("dataset");
    if (name === "gone") response.statusCode = 404;
    if (name === "gated") response.statusCode = 401;
    const offset = Number(searchParams.get("offset"));
    const length = Math.min(Number(searchParams.get("length")), TOTAL - offset);
    const rows = Array.from({ length }, (_, index) => ({ row: { text: `row ${offset + index}` } }));
    const splits = [{ dataset: name, config: "default", split: "train_sft" }];
    response.end(JSON.stringify(pathname === "/splits" ? { splits } : { rows, num_rows_total: TOTAL }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address === "object" && address) url = `http://127.0.0.1:${address.port}`;
});
afterAll(() => server.close());

it("reads as many rows as are asked for, a hundred at a time", async () => {
  asked.length = 0;
  const request = { name: "org/chat", config: "plain", split: "train", rows: 130 };
  const rows = await datasetRows(testTransport(), url, request, never);
  expect(rows).toHaveLength(130);
  expect(rows[129]).toEqual({ text: "row 129" });
  expect(asked).toEqual([
    "/rows?dataset=org%2Fchat&config=plain&split=train&offset=0&length=100",
    "/rows?dataset=org%2Fchat&config=plain&split=train&offset=100&length=30",
  ]);
});

it("finds the config of a split, and stops where the data set ends", async () => {
  const request = { name: "org/chat", config: null, split: "train_sft", rows: 1000 };
  expect(await datasetRows(testTransport(), url, request, never)).toHaveLength(TOTAL);
});

it("says what is wrong with a name that is absent, gated, or has no such split", async () => {
  const ask = async (name: string, split = "train_sft") =>
    await datasetRows(testTransport(), url, { name, config: null, split, rows: 1 }, never);
  await expect(ask("gone")).rejects.toThrow(AccessError);
  await expect(ask("gone")).rejects.toThrow(/no public data set "gone"/);
  await expect(ask("gated")).rejects.toThrow(/gated or private \(401\)/);
  await expect(ask("org/chat", "test")).rejects.toThrow(/no split "test"; it has train_sft/);
});
