// What a file is by its first bytes, whatever its name says.

/** A file that holds text or rows can be made of these; or it is text. */
export type FileKind =
  | { readonly kind: "gzip" | "parquet" | "text" }
  /** What people call it, and what makes it readable here. */
  | { readonly kind: "foreign"; readonly name: string; readonly remedy: string };

const UNPACK = "Unpack it first";
const EXPORT = "Export its text as JSONL or Parquet";
const NOT_TEXT = "Choose a file with text";

/** Magic numbers, as text of one byte a character; the longer before the shorter where one begins another. */
const MAGIC: readonly (readonly [string, string, string])[] = [
  ["\x28\xb5\x2f\xfd", "zstd-compressed", UNPACK],
  ["BZh", "bzip2-compressed", UNPACK],
  ["\xfd7zXZ\x00", "xz-compressed", UNPACK],
  ["\x04\x22\x4d\x18", "LZ4-compressed", UNPACK],
  ["\xff\x06\x00\x00sNaPpY", "Snappy-compressed", UNPACK],
  ["PK\x03\x04", "a ZIP archive (or an office document)", UNPACK],
  ["PK\x05\x06", "an empty ZIP archive", UNPACK],
  ["7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK],
  ["Rar!\x1a\x07", "a RAR archive", UNPACK],
  ["ARROW1\x00\x00", "an Arrow IPC file", EXPORT],
  ["\xff\xff\xff\xff", "an Arrow IPC stream", EXPORT],
  ["PARE", "an encrypted Parquet file", EXPORT],
  ["ORC", "an ORC file", EXPORT],
  ["Obj\x01", "an Avro file", EXPORT],
  ["SQLite format 3\x00", "an SQLite database", EXPORT],
  ["\x89HDF\r\n\x1a\n", "an HDF5 file", EXPORT],
  ["\x93NUMPY", "a NumPy array", EXPORT],
  ["%PDF-", "a PDF", EXPORT],
  ["{\\rtf", "a Rich Text document", EXPORT],
  ["\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document", EXPORT],
  ["GGUF", "a GGUF model", NOT_TEXT],
  ["\x89PNG\r\n\x1a\n", "a picture", NOT_TEXT],
  ["\xff\xd8\xff", "a picture", NOT_TEXT],
];

/** Where a tar archive says that it is one. */
const TAR_OFFSET = 257;

export function fileKind(bytes: Uint8Array): FileKind {
  if (begins(bytes, "\x1f\x8b")) return { kind: "gzip" };
  if (begins(bytes, "PAR1")) return { kind: "parquet" };
  const found = MAGIC.find(
    ([magic]) =>
      begins(bytes, magic) && (magic.startsWith("%PDF") || magic.startsWith("{") || !isText(bytes)),
  );
  if (found) return { kind: "foreign", name: found[1], remedy: found[2] };
  if (begins(bytes.subarray(TAR_OFFSET), "ustar")) {
    return { kind: "foreign", name: "a tar archive", remedy: UNPACK };
  }
  return { kind: "text" };
}

/** A story may begin with "ORC" or "GGUF"; binary files have control characters soon. */
function isText(bytes: Uint8Array): boolean {
  return bytes
    .subarray(0, 64)
    .every((byte) => byte >= 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09);
}

function begins(bytes: Uint8Array, magic: string): boolean {
  return (
    bytes.length >= magic.length &&
    Array.from(bytes.subarray(0, magic.length), (byte, index) => byte === magic.charCodeAt(index)).every(
      Boolean,
    )
  );
}
