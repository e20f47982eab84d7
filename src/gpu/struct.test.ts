import { describe, expect, it } from "vitest";
import { struct, writeStruct } from "./struct.ts";

const layout = struct({ count: "u32", offset: "i32", scale: "f32" });

function written(values: Readonly<Record<string, number>>): readonly number[] {
  const view = new DataView(new ArrayBuffer(layout.bytes));
  writeStruct(layout, { count: 0, offset: 0, scale: 0, ...values }, view, 0);
  return [view.getUint32(0, true), view.getInt32(4, true), view.getFloat32(8, true)];
}

describe("a params struct", () => {
  it("holds what it is given", () => {
    expect(written({ count: 2 ** 32 - 1, offset: -(2 ** 31), scale: Infinity })).toEqual([
      2 ** 32 - 1,
      -(2 ** 31),
      Infinity,
    ]);
  });

  it.each([
    ["count", 2 ** 32],
    ["count", -1],
    ["count", 0.5],
    ["count", Number.NaN],
    ["offset", 2 ** 31],
  ])("refuses what would become another number: %s %d", (name, value) => {
    expect(() => written({ [name]: value })).toThrow(
      /Defect: the params field "\w+" is .*, which no [ui]32 holds/,
    );
  });
});
