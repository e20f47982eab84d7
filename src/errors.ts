// Errors are sorted by what the user can do about them. Only `name` and `message` survive the way from a worker
// to the page, so the name is the discriminator that the page switches on, and the message is the whole sentence:
// what failed, where, how much, and what next.

/** Longer than any sentence that we write; what makes one longer came from outside. */
const MAX_MESSAGE = 4000;

/** Keeps beginning and end, where the sentence says what failed and what next. */
function bounded(message: string): string {
  if (message.length <= MAX_MESSAGE) return message;
  return `${message.slice(0, MAX_MESSAGE / 2)} … ${message.slice(-MAX_MESSAGE / 4)}`;
}

/** What is not to be seen, and moves or recolours what is: controls, ends of lines, and marks that turn text around. */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu;

/** Text of strangers, of as many lines as it has, as a terminal may show it: it may hold what a terminal obeys. */
export function printable(text: string): string {
  return text.replace(UNSEEN, (unseen) => (unseen === "\n" || unseen === "\t" ? unseen : "\ufffd"));
}

/** A sentence with names of strangers, which may hold line ends and what a terminal obeys: on one line, these as JSON writes them. */
export function inOneLine(sentence: string): string {
  return sentence.replace(UNSEEN, escaped);
}

/** What a browser or a library said in several lines, as a part of one: of these no stranger wrote any. */
export function joinedLines(text: string): string {
  return text.trim().replaceAll(/\s+/g, " ");
}

/** "\n" for the end of a line; JSON.stringify leaves alone what is not a control of ASCII. */
function escaped(unseen: string): string {
  const json = JSON.stringify(unseen).slice(1, -1);
  return json === unseen ? `\\u${unseen.charCodeAt(0).toString(16).padStart(4, "0")}` : json;
}

/** Base of every failure that is told to the user in its own words; anything else is a defect of ours. */
export class LayerpressError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(bounded(inOneLine(message)), options);
    this.name = new.target.errorName;
  }
  static readonly errorName: string = "LayerpressError";
}

/** The host cannot be reached, answers badly, or ignores ranges. Trying again, or another host, may help. */
export class NetworkError extends LayerpressError {
  static override readonly errorName = "NetworkError";
}

/** The model is gated, private or absent: a token, an accepted licence or another name is needed. */
export class AccessError extends LayerpressError {
  static override readonly errorName = "AccessError";
}

/** A file breaks its format. Trying again is useless unless the download itself was damaged. */
export class MalformedModelError extends LayerpressError {
  static override readonly errorName = "MalformedModelError";
}

/** The files are fine, but this program does not know what to do with them. */
export class UnsupportedModelError extends LayerpressError {
  static override readonly errorName = "UnsupportedModelError";
}

/** The recipe is wrong, or does not fit this model. */
export class RecipeError extends LayerpressError {
  static override readonly errorName = "RecipeError";
}

/** Parts of a model do not make a whole: others are needed, or these do not belong together. */
export class PartsError extends LayerpressError {
  static override readonly errorName = "PartsError";
}

/** Jobs that share the samples of one model do not get from each other what they need. */
export class ExchangeError extends LayerpressError {
  static override readonly errorName = "ExchangeError";
}

/** The calibration text or its tokenization cannot be used. */
export class CalibrationError extends LayerpressError {
  static override readonly errorName = "CalibrationError";
}

/** There is no usable GPU, or the job needs more of it than its limits or the budget allow. */
export class DeviceLimitError extends LayerpressError {
  static override readonly errorName = "DeviceLimitError";
}

/** The GPU went away in the middle: finished layers are kept, and the job can go on. */
export class DeviceLostError extends LayerpressError {
  static override readonly errorName = "DeviceLostError";
}

/** A loss that something failed of, which browsers tell in words of their own: "The GPU was lost while it was computing." */
export function lostWhile(doing: string, cause: unknown): DeviceLostError {
  return new DeviceLostError(`The GPU was lost while ${doing}.`, { cause });
}

/** The disk or the browser's quota is full. */
export class StorageError extends LayerpressError {
  static override readonly errorName = "StorageError";
}

/** The browser gives the page no more memory: reloading frees it, and another recipe may need less. */
export class MemoryError extends LayerpressError {
  static override readonly errorName = "MemoryError";
}

/** Another tab of this origin holds the job lock. */
export class BusyError extends LayerpressError {
  static override readonly errorName = "BusyError";
}

/** What was written does not agree with the plan or the source: the result must not be trusted. */
export class VerificationError extends LayerpressError {
  static override readonly errorName = "VerificationError";
}

/** Guards our own assumptions; a failure here is a defect, never a user's mistake. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`Defect: ${message}`);
}

/**
 * What failed first: the error that was on its way when a disposer threw another one, which hides it as a `SuppressedError` does. Any
 * other error is its own first cause. Known by its name: where a browser has no such class, the build makes a plain error of that name.
 */
export function firstCause(error: unknown): unknown {
  let cause = error;
  while (cause instanceof Error && cause.name === "SuppressedError" && "suppressed" in cause)
    cause = cause.suppressed;
  return cause;
}

/** True for the `AbortError` that a cancelled job ends with; cancellation is an ordinary outcome. */
export function isAbort(error: unknown): boolean {
  const cause = firstCause(error);
  return cause instanceof Error && cause.name === "AbortError";
}
