import { HubApiError } from "@huggingface/hub";
import {
  AccessError,
  BusyError,
  firstCause,
  isAbort,
  LayerpressError,
  NetworkError,
  StorageError,
} from "../errors.ts";

/** Longer than any sentence of the Hub's. */
const MAX_QUOTE = 240;

/** What was asked of the Hub when it refused. */
export interface Asked {
  readonly hubUrl: string;
  readonly repository: string;
}

/** What a browser says of a file that was deleted or changed since it was opened. */
const GONE: ReadonlySet<string> = new Set(["NotFoundError", "NotReadableError"]);

/** What went wrong as a sentence that says what to do; our own errors, and what is stopped, as they are. */
export function publishFailure(thrown: unknown, { hubUrl, repository }: Asked): unknown {
  const error = firstCause(thrown);
  if (error instanceof LayerpressError || isAbort(error)) return error;
  const { host } = new URL(hubUrl);
  if (error instanceof DOMException && GONE.has(error.name))
    return new StorageError(
      "A file of the result can no longer be read from the browser’s storage: the job was deleted in another tab, or its files were changed. Nothing was committed. Run the job again, then publish it.",
      { cause: error },
    );
  if (!(error instanceof HubApiError)) return notUnderstood(error, host, repository);
  const status = error.statusCode;
  const said = quote(error);
  const options = { cause: error };
  if (status === 401)
    return new AccessError(
      `${host} refuses the token (401): it has expired, was revoked, or was not copied whole. Sign in again, or paste another one with write permission.`,
      options,
    );
  if (status === 402 || status === 413 || (status === 403 && /storage|quota|limit/i.test(error.message)))
    return new StorageError(
      `${host} has no room for this result in ${repository} (${status})${said}. Free some storage there, or choose another owner or visibility; what has arrived is kept for a while and is not sent again.`,
      options,
    );
  if (status === 403)
    return new AccessError(
      `${host} does not let this token write to ${repository} (403)${said}. It needs write permission for ${repository.split("/")[0]}; in an organization, its account needs the right to write, too.`,
      options,
    );
  if (status === 404)
    return new AccessError(
      `${host} has no ${repository}, or does not show it to this token (404). Check owner and name.`,
      options,
    );
  if (status === 412 || status === 409)
    return new BusyError(
      `${repository} was changed while the result was uploaded (${status}): a newer commit is there. Look at it, then publish again to put the result on top; nothing is sent twice.`,
      options,
    );
  return new NetworkError(
    `${host} answers ${status}${said}. Try again later; what has arrived is not sent again.`,
    options,
  );
}

/** Answers that the Hub's library, and so this page, can make nothing of. */
function notUnderstood(cause: unknown, host: string, repository: string): NetworkError {
  const said = cause instanceof Error ? cause.message : String(cause);
  return new NetworkError(
    `What ${host} answered about ${repository} is not understood (${said.slice(0, MAX_QUOTE)}). Look there whether anything was committed, then try again; what has arrived is not sent again.`,
    { cause },
  );
}

/** The Hub's own words, without the library's trailer. */
function quote({ message }: HubApiError): string {
  const own = message.replace(/\.? (URL: |Request ID: )[\s\S]*$/, "").slice(0, MAX_QUOTE);
  return own === "" || own.startsWith("Api error with status") ? "" : `: “${own}”`;
}
