import { expect, it } from "vitest";
import { attentionTiles } from "./attention-tile.ts";

it("deals out all rows of each sequence once, those that see most keys first", () => {
  expect(attentionTiles([70, 3, 130])).toEqual([
    { firstRow: 201, endRow: 203, sequenceStart: 73 },
    { firstRow: 137, endRow: 201, sequenceStart: 73 },
    { firstRow: 64, endRow: 70, sequenceStart: 0 },
    { firstRow: 0, endRow: 64, sequenceStart: 0 },
    { firstRow: 73, endRow: 137, sequenceStart: 73 },
    { firstRow: 70, endRow: 73, sequenceStart: 70 },
  ]);
});
