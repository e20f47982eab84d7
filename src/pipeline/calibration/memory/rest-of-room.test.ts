import { expect, it } from "vitest";
import type { LayerSchedule } from "../fit/layer-schedule.ts";
import { useRest } from "./rest-of-room.ts";

const LAYER: LayerSchedule = {
  passes: [],
  rewrites: [],
  leaves: false,
  tileRows: new Map(),
  residency: { calibrate: [], propagate: { residentBytes: 1, tileBytes: 1 } },
  resident: true,
  overlap: false,
  spareQuantizing: 0,
  staysRewriting: true,
  settling: null,
  atWork: { calibrate: [], propagate: 1 },
};

const RINGS = { pieceBytes: 0, pieces: 2 };
const SHAPE = { maxTokens: 1, mlpTokens: 1, tileBytes: 1, ring: RINGS, readbackRing: RINGS };

it.each([
  [200, true, { sideBySide: true, peakBytes: 185 }, true],
  [194, true, { sideBySide: true, peakBytes: 155 }, false],
  [164, true, { sideBySide: false, peakBytes: 130 }, true],
  [139, true, { sideBySide: false, peakBytes: 100 }, false],
  [200, false, { sideBySide: false, peakBytes: 130 }, true],
])(
  "of %i bytes, two layers at once wanted: %s, what is left goes to them before weights stay",
  (budgetBytes, sideBySide, expected, stays) => {
    const grows = { beside: 50, staying: 30, both: 80, ahead: Infinity };
    const plan = { layers: [LAYER], peakBytes: 100, grows, shape: SHAPE };
    const limits = { budgetBytes, maxBufferBytes: 1, sideBySide };
    const found = useRest(plan, { bytes: 10, collected: 5 }, limits);
    expect(found).toMatchObject(expected);
    expect(found.layers.map(({ staysRewriting }) => staysRewriting)).toEqual([stays]);
  },
);

it.each([
  [126, true],
  [125, false],
])("of %i bytes, weights of the next layer come ahead: %s", (budgetBytes, bringsAhead) => {
  const grows = { beside: Infinity, staying: Infinity, both: Infinity, ahead: 16 };
  const plan = { layers: [LAYER], peakBytes: 100, grows, shape: SHAPE };
  const found = useRest(plan, { bytes: 10, collected: 5 }, { budgetBytes, maxBufferBytes: 1 });
  expect(found).toMatchObject({ bringsAhead, peakBytes: bringsAhead ? 116 : 100 });
});

it("gives what is left then to rings, where two layers or several jobs move bytes while samples run", () => {
  const ring = { pieceBytes: 1024, pieces: 2 };
  const grows = { beside: Infinity, staying: Infinity, both: Infinity, ahead: Infinity };
  const shape = { ...SHAPE, ring, readbackRing: ring };
  const plan = { layers: [LAYER], peakBytes: 100_000, grows, shape };
  const piecesIn = (budgetBytes: number, sideBySide: boolean) => {
    const found = useRest(plan, { bytes: 0, collected: 0 }, { budgetBytes, maxBufferBytes: 1, sideBySide });
    return [found.shape.ring.pieces, found.shape.readbackRing.pieces, found.peakBytes];
  };
  expect(piecesIn(110_240, true)).toEqual([8, 6, 110_240]);
  expect(piecesIn(110_239, true)).toEqual([4, 4, 104_096]);
  expect(piecesIn(102_047, true)).toEqual([2, 2, 100_000]);
  expect(piecesIn(110_240, false)).toEqual([2, 2, 100_000]);
});
