// A thread that reads ranges of files one behind the other, hashes what it reads, and writes it into a file where one is named: a
// piece is read and one is written while another is hashed, which takes the longest of the three. Plain JavaScript, because
// threads start without what reads TypeScript.

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { parentPort, workerData } from "node:worker_threads";

const PIECE_BYTES = 8 * 1024 ** 2;

/** @typedef {import("../../../src/formats/files/file-ranges.ts").FileRange} FileRange */
/** @typedef {{ readonly ended: string } | { readonly bytes: Uint8Array }} Piece */

const { header, ranges, target } = /** @type {import("./copy-ranges.ts").RangesCopy} */ (workerData);
/** One is read into, one hashed, one written from. */
const buffers = Array.from({ length: 3 }, () => new Uint8Array(PIECE_BYTES));

/** @param {readonly FileRange[]} of */
function* pieces(of) {
  for (const { path, start, end } of of)
    for (let at = start; at < end; at += PIECE_BYTES)
      yield { path, at, bytes: Math.min(PIECE_BYTES, end - at) };
}

/** @type {Map<string, Promise<import("node:fs/promises").FileHandle>>} */
const files = new Map();

/**
 * @param {{ path: string, at: number, bytes: number }} piece
 * @param {Uint8Array} buffer
 * @returns {Promise<Piece>}
 */
async function read({ path, at, bytes }, buffer) {
  const opening = files.get(path) ?? open(path);
  files.set(path, opening);
  const file = await opening;
  for (let filled = 0; filled < bytes;) {
    const { bytesRead } = await file.read(buffer, filled, bytes - filled, at + filled);
    if (bytesRead === 0) return { ended: path };
    filled += bytesRead;
  }
  return { bytes: buffer.subarray(0, bytes) };
}

async function copy() {
  const hash = createHash("sha256");
  const out = target === null ? null : await open(target, "w");
  let copied = header.byteLength;
  hash.update(header);
  let writing = out?.writeFile(header);
  const left = pieces(ranges);
  const begin = (/** @type {number} */ turn) => {
    const next = left.next();
    const buffer = buffers[turn % buffers.length];
    if (next.done || !buffer) return null;
    const reading = read(next.value, buffer);
    // It is awaited a turn later, if nothing fails before.
    reading.catch(() => undefined);
    return reading;
  };
  let coming = begin(0);
  for (let turn = 1; coming; turn++) {
    const piece = await coming;
    if ("ended" in piece) return piece;
    coming = begin(turn);
    await writing;
    writing = out?.writeFile(piece.bytes);
    writing?.catch(() => undefined);
    hash.update(piece.bytes);
    copied += piece.bytes.byteLength;
  }
  await writing;
  await out?.sync();
  await out?.close();
  return { bytes: copied, sha256: hash.digest("hex") };
}

const answer = await copy();
for (const file of files.values()) await (await file).close();
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
parentPort?.postMessage(answer);
