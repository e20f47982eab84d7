import { expect, it } from "vitest";
import { narrowFromFloat32 } from "../../formats/numbers/dtype.ts";
import { createSpanRotator, type Span } from "../../plan/rotation/rotate-span.ts";
import { randomNormal, seededRandom } from "../../testing/random.ts";
import { createRotators } from "./rotator-threads.ts";

const [ROWS, COLUMNS] = [24, 12];

function span(seed: number): Span {
  return {
    bytes: narrowFromFloat32("BF16", randomNormal(ROWS * COLUMNS, seededRandom(seed))),
    dtype: "BF16",
    columns: COLUMNS,
    seed: 0,
    norm: randomNormal(COLUMNS, seededRandom(1)),
    byColumn: { rotation: "R1", first: 0, size: COLUMNS, blocks: 1 },
    byRow: { rotation: "R2", first: 0, size: ROWS, blocks: 1 },
  };
}

it("rotate in threads what would be rotated here, also after they have ended", async () => {
  const here = createSpanRotator();
  const rotate = createRotators(0);
  const spans = [1, 2, 3, 4].map(span);
  const expected = spans.map(here);
  expect(await Promise.all(spans.map(rotate))).toEqual(expected);
  await new Promise((resolve) => setTimeout(resolve));
  expect(await Promise.all(spans.map(rotate))).toEqual(expected);
});
