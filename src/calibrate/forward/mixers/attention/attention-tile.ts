// How a batch's rows are dealt out to the attention kernel: tiles of a sequence, never across two.

/** Query rows of a tile: 8 row groups of 8 rows. */
export const ATTENTION_TILE_ROWS = 64;

/** Query rows that one workgroup of the attention kernel takes. */
export interface AttentionTile {
  readonly firstRow: number;
  readonly endRow: number;
  /** First row of the sequence that they belong to. */
  readonly sequenceStart: number;
}

/**
 * Tiles of sequences laid end to end, those that see most keys first: begun last, they would keep a few workgroups busy while the rest of
 * the GPU has nothing to do.
 */
export function attentionTiles(lengths: readonly number[]): AttentionTile[] {
  const tiles: AttentionTile[] = [];
  let sequenceStart = 0;
  for (const length of lengths) {
    const end = sequenceStart + length;
    for (let firstRow = sequenceStart; firstRow < end; firstRow += ATTENTION_TILE_ROWS) {
      tiles.push({ firstRow, endRow: Math.min(firstRow + ATTENTION_TILE_ROWS, end), sequenceStart });
    }
    sequenceStart = end;
  }
  const seen = ({ endRow, sequenceStart: start }: AttentionTile) => endRow - start;
  return tiles.toSorted((a, b) => seen(b) - seen(a));
}
