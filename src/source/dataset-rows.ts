// Rows of a Hub data set through the Hub's rows service, which reads Parquet for us and answers in JSON.
// https://huggingface.co/docs/dataset-viewer/rows

import * as v from "valibot";
import { AccessError, MalformedModelError } from "../errors.ts";
import { parseJsonBytes } from "../formats/text/parse-json.ts";
import { type Host, HUB_RATE_WINDOW_MS } from "./http/host.ts";
import { ask } from "./http/request.ts";
import { type Transport, withRetry } from "./http/retry.ts";
import type { DatasetRequest } from "../api/source-api.ts";

export const ROWS_URL = "https://datasets-server.huggingface.co";
/** The service's own limit of one answer. */
const ROWS_PER_REQUEST = 100;
/** Long conversations make long answers; more than this is not calibration text. */
const MAX_ANSWER_BYTES = 64_000_000;

const splitsSchema = v.looseObject({
  splits: v.array(v.looseObject({ config: v.string(), split: v.string() })),
});
const rowsSchema = v.looseObject({
  rows: v.array(v.looseObject({ row: v.record(v.string(), v.unknown()) })),
  num_rows_total: v.optional(v.number()),
});

/**
 * The first rows of a split, in order.
 * @throws AccessError if the data set, its config or its split does not exist or is gated; NetworkError
 */
export async function datasetRows(
  transport: Transport,
  rowsUrl: string,
  request: DatasetRequest,
  signal: AbortSignal,
): Promise<unknown[]> {
  const host = rowsHost(rowsUrl, request.name);
  const get = async (path: string, query: Record<string, string>) => {
    const url = `${rowsUrl}/${path}?${new URLSearchParams({ dataset: request.name, ...query }).toString()}`;
    return await getJson(transport, host, url, request.name, signal);
  };
  const config = request.config ?? firstConfig(request, await get("splits", {}));
  const rows: unknown[] = [];
  while (rows.length < request.rows) {
    const length = Math.min(ROWS_PER_REQUEST, request.rows - rows.length);
    const page = check(
      rowsSchema,
      await get("rows", {
        config,
        split: request.split,
        offset: String(rows.length),
        length: String(length),
      }),
      request.name,
    );
    rows.push(...page.rows.map(({ row }) => row));
    if (page.rows.length < length) break;
  }
  return rows;
}

function firstConfig({ name, split }: DatasetRequest, answer: unknown): string {
  const { splits } = check(splitsSchema, answer, name);
  const found = splits.find((candidate) => candidate.split === split);
  if (found) return found.config;
  const known = [...new Set(splits.map((candidate) => candidate.split))].slice(0, 8).join(", ");
  throw new AccessError(`The data set ${name} has no split "${split}"; it has ${known}.`);
}

function check<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  name: string,
): v.InferOutput<Schema> {
  const checked = v.safeParse(schema, value);
  if (checked.success) return checked.output;
  throw new MalformedModelError(
    `The rows service's answer about ${name} is not of the form that was expected.`,
  );
}

async function getJson(
  transport: Transport,
  host: Host,
  url: string,
  name: string,
  signal: AbortSignal,
): Promise<unknown> {
  return await withRetry(transport, signal, async () => {
    const answer = await ask(transport, host, { url, what: `the rows of ${name}` }, signal);
    const bytes = await answer.receive(answer.response.arrayBuffer(), (rows) => rows.byteLength);
    if (bytes.byteLength > MAX_ANSWER_BYTES) {
      throw new MalformedModelError(`The rows of ${name} are too long to calibrate with.`);
    }
    return parseJsonBytes(`The rows service's answer about ${name}`, new Uint8Array(bytes));
  });
}

function rowsHost(rowsUrl: string, name: string): Host {
  return {
    name: new URL(rowsUrl).host,
    headers: () => ({}),
    rateWindowMs: HUB_RATE_WINDOW_MS,
    refusal: (status) =>
      new AccessError(
        status === 404
          ? `There is no public data set "${name}" with that config and split (404). Check the name, or drop a file with your text.`
          : `The data set "${name}" is gated or private (${status}); the rows service shows public ones only. Download it and drop a file with your text.`,
      ),
  };
}
