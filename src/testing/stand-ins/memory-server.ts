// A server in memory, in the place of `fetch`: the files of one folder, with ranges and ETags, and 404 for everything else.

/**
 * A `fetch` for files below an address.
 * @param base the folder's address, ending in "/"
 */
export function memoryFetch(
  base: string,
  files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>,
): typeof globalThis.fetch {
  const answer = (url: string, range: string | null): Response => {
    const file = url.startsWith(base) ? files.get(url.slice(base.length)) : undefined;
    if (!file) return new Response(null, { status: 404 });
    const [, first = "0", last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
    const start = Number(first);
    const end = Math.min(Number(last ?? file.byteLength) + 1, file.byteLength);
    return new Response(file.slice(start, end), {
      status: 206,
      headers: { "content-range": `bytes ${start}-${end - 1}/${file.byteLength}`, etag: '"1"' },
    });
  };
  return async (asked, options) => {
    const { url, headers } = new Request(asked, options);
    return await Promise.resolve(answer(url, headers.get("range")));
  };
}
