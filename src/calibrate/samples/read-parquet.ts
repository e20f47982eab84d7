// Rows of a Parquet file: only the columns that samples are made of. The reader is loaded when the first such file comes.

import { CalibrationError } from "../../errors.ts";
import { formatBytes } from "../../formats/text/format-bytes.ts";
import { showValue } from "../../formats/text/show-value.ts";
import { ROW_FIELDS } from "./parse-row.ts";
import { MAX_CALIBRATION_BYTES } from "./sample.ts";

/** More rows than any calibration takes; bounds what a header can make us keep. */
const MAX_ROWS = 2_000_000;
/** Codecs that the reader unpacks by itself. */
const CODECS = new Set(["UNCOMPRESSED", "SNAPPY"]);

/**
 * @param column the one to read; null reads those that samples are usually made of
 * @throws CalibrationError for a file that is damaged, too long, compressed in another way, or has none of the columns.
 */
export async function readParquet(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  column: string | null,
): Promise<Record<string, unknown>[]> {
  const { parquetMetadata, parquetReadObjects, parquetSchema } = await import("hyparquet");
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  try {
    const metadata = parquetMetadata(file);
    const schema = parquetSchema(metadata);
    const all = schema.children.map(({ element }) => element.name);
    const columns = chooseColumns(name, all, column);
    const chunks = metadata.row_groups
      .flatMap((group) => group.columns.map(({ meta_data }) => meta_data))
      .filter((chunk) => chunk !== undefined)
      .filter(({ path_in_schema: [top = ""] }) => columns.includes(top));
    checkChunks(name, metadata.num_rows, chunks);
    for (const group of metadata.row_groups)
      checkPaths(
        name,
        schema,
        group.columns.flatMap(({ meta_data }) => (meta_data ? [meta_data.path_in_schema] : [])),
      );
    const rows = await parquetReadObjects({ file, metadata, columns });
    return rows.map((row) => plainRow(row));
  } catch (error) {
    if (error instanceof CalibrationError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CalibrationError(
      `${name} is a Parquet file that cannot be read: ${reason.slice(0, 200)}. It is damaged, or cut off; download it again, or export its text as JSONL.`,
      { cause: error },
    );
  }
}

function chooseColumns(name: string, all: readonly string[], column: string | null): string[] {
  const wanted = column === null ? ROW_FIELDS : [column, "tools"];
  const columns = all.filter((candidate) => wanted.includes(candidate));
  if (columns.length > 0 && (column === null || columns.includes(column))) return columns;
  const has = `Its columns are ${all.slice(0, 12).join(", ")}.`;
  throw new CalibrationError(
    column === null
      ? `${name} has no column that samples are usually made of (text, messages, input_ids, …). ${has} Name the column to use.`
      : `${name} has no column "${column}". ${has}`,
  );
}

interface Chunk {
  readonly codec: string;
  readonly total_uncompressed_size: bigint;
}

function checkChunks(name: string, rows: bigint, chunks: readonly Chunk[]): void {
  if (rows > MAX_ROWS) {
    throw new CalibrationError(`${name} has ${rows} rows; ${MAX_ROWS} is the most. Take a part of it.`);
  }
  const foreign = chunks.find(({ codec }) => !CODECS.has(codec));
  if (foreign) {
    throw new CalibrationError(
      `${name} is a Parquet file compressed with ${foreign.codec}, which is not unpacked here. Write it with Snappy (in pandas: to_parquet(…, compression="snappy")), or as JSONL.`,
    );
  }
  const length = chunks.reduce((sum, chunk) => sum + Number(chunk.total_uncompressed_size), 0);
  if (length > MAX_CALIBRATION_BYTES) {
    throw new CalibrationError(
      `The text of ${name} is ${formatBytes(length)} long; ${formatBytes(MAX_CALIBRATION_BYTES)} is the most, and a few thousand samples are plenty. Take a part of it.`,
    );
  }
}

interface SchemaNode {
  readonly element: { readonly name: string };
  readonly children: readonly SchemaNode[];
}

/**
 * Columns that the schema does not have, or that come twice: the reader finds them in the middle of its work, and then nobody
 * awaits what it has begun of the others.
 */
function checkPaths(name: string, schema: SchemaNode, paths: readonly (readonly string[])[]): void {
  const seen = new Set<string>();
  for (const path of paths) {
    let node: SchemaNode | undefined = schema;
    for (const part of path) node = node?.children.find(({ element }) => element.name === part);
    const shown = path.join(".");
    if (node && node !== schema && !seen.has(shown)) seen.add(shown);
    else
      throw new CalibrationError(
        `${name} is a Parquet file that cannot be read: its column ${showValue(shown)} ${node ? "comes twice" : "is not in its schema"}. It is damaged; download it again, or export its text as JSONL.`,
      );
  }
}

function plainRow(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).map(([field, value]) => [field, plain(value)]));
}

/** As JSON would have it: 64-bit integers are numbers, typed arrays lists. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (ArrayBuffer.isView(value) && Symbol.iterator in value)
    return Array.from(value as Iterable<unknown>, plain);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  return plainRow(value as Readonly<Record<string, unknown>>);
}
