// Size and version of one file, without its contents.

import { AccessError, NetworkError } from "../../errors.ts";
import { readBody } from "./body-reader.ts";
import { checkPartial, parseContentRange, type RemoteFile, validatorOf } from "./fetch-range.ts";
import type { Asked } from "./asked.ts";
import { NoSuchBytesError } from "./http-failure.ts";
import { ask } from "./request.ts";
import { type Transport, withRetry } from "./retry.ts";

/** The largest last byte that a range can name without leaving JavaScript's integers. */
const LAST_BYTE = Number.MAX_SAFE_INTEGER;

/**
 * Asks for a file's first byte: the answer tells size and version. A HEAD request would be answered for the compressed form of a file.
 * @returns the server's refusal if it does not have the file, or does not give it
 * @throws NetworkError
 */
export async function probeFile(
  transport: Transport,
  wanted: Pick<RemoteFile, "path" | "url" | "host">,
  signal: AbortSignal,
): Promise<RemoteFile | AccessError> {
  try {
    return await withRetry(transport, signal, async () => await probeOnce(transport, wanted, signal));
  } catch (error) {
    // Which begin with the first one: whoever has a file and not that one has an empty file.
    if (error instanceof NoSuchBytesError) return { ...wanted, bytes: 0, validator: null };
    if (error instanceof AccessError) return error;
    throw error;
  }
}

async function probeOnce(
  transport: Transport,
  wanted: Pick<RemoteFile, "path" | "url" | "host">,
  signal: AbortSignal,
): Promise<RemoteFile> {
  const { host, path, url } = wanted;
  const asked = (last: number): Asked => ({ url, what: path, headers: { Range: `bytes=0-${last}` } });
  const first = await ask(transport, host, asked(0), signal);
  const { response } = first;
  try {
    // Servers of single-page applications answer any path with a page.
    if (response.headers.get("content-type")?.includes("text/html")) throw host.refusal(404, null, path);
    // Of an empty file no part can be answered, and some servers answer with the whole of it.
    if (response.status === 200 && response.headers.get("content-length") === "0")
      return { ...wanted, bytes: 0, validator: validatorOf(response) };
    checkPartial(first, host, path);
    // Read to its end, which is after one byte, and not dropped: the connection can be used again.
    await readBody(first, transport.traffic.received).take(2);
  } finally {
    first.cancel();
  }
  const range = parseContentRange(response.headers.get("content-range") ?? "");
  const bytes = range?.total ?? (await sizeByLength(transport, wanted, asked(LAST_BYTE), signal));
  return { ...wanted, bytes, validator: validatorOf(response) };
}

/**
 * Where CORS hides Content-Range: a range to the end of any file has the file's size as its Content-Length, which is never hidden.
 * The body is dropped.
 */
async function sizeByLength(
  transport: Transport,
  { host, path }: Pick<RemoteFile, "host" | "path">,
  asked: Asked,
  signal: AbortSignal,
): Promise<number> {
  const whole = await ask(transport, host, asked, signal);
  whole.cancel();
  checkPartial(whole, host, path);
  const bytes = Number(whole.response.headers.get("content-length") ?? Number.NaN);
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new NetworkError(
    `${host.name} does not let this page see how large ${path} is. It has to expose the Content-Range header (Access-Control-Expose-Headers).`,
  );
}
