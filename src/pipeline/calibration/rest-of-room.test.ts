import { expect, it } from "vitest";
import type { LayerSchedule } from "./layer-schedule.ts";
import { useRest } from "./rest-of-room.ts";

const LAYER: LayerSchedule = {
  passes: [],
  rewrites: [],
  leaves: false,
  tileRows: new Map(),
  residency: { calibrate: [], propagate: { residentBytes: 1, tileBytes: 1 } },
  resident: true,
  overlap: false,
  staysRewriting: true,
  settling: null,
  atWork: { calibrate: [], propagate: 1 },
};

it.each([
  [200, true, { sideBySide: true, peakBytes: 185 }, true],
  [194, true, { sideBySide: true, peakBytes: 155 }, false],
  [164, true, { sideBySide: false, peakBytes: 130 }, true],
  [139, true, { sideBySide: false, peakBytes: 100 }, false],
  [200, false, { sideBySide: false, peakBytes: 130 }, true],
])(
  "of %i bytes, two layers at once wanted: %s, what is left goes to them before weights stay",
  (budgetBytes, sideBySide, expected, stays) => {
    const plan = { layers: [LAYER], peakBytes: 100, grows: { beside: 50, staying: 30, both: 80 } };
    const limits = { budgetBytes, maxBufferBytes: 1, sideBySide };
    const found = useRest(plan, { bytes: 10, collected: 5 }, limits);
    expect(found).toMatchObject(expected);
    expect(found.layers.map(({ staysRewriting }) => staysRewriting)).toEqual([stays]);
  },
);
