/** The promise, of which it is no unhandled rejection that it fails before it is waited for. */
export function waitLater<Result>(promise: Promise<Result>): Promise<Result> {
  promise.catch(() => undefined);
  return promise;
}
