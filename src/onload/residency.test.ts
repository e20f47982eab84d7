import { expect, it } from "vitest";
import type { Linear } from "../model/weight-description.ts";
import { divideLinears } from "./residency.ts";

function linear(module: string, rows: number): Linear {
  return { module, rows, columns: 8, bias: null, source: { tensor: module, shape: [rows, 8], firstRow: 0 } };
}

it("has the largest Linears that fit stay, in the layer's order, and streams the others", () => {
  const linears = [linear("q", 32), linear("k", 8), linear("v", 8), linear("gate", 64), linear("up", 64)];
  const namesOf = (residentBytes: number) => {
    const residency = { residentBytes, tileBytes: 64 };
    const { resident, streamed } = divideLinears(linears, () => "BF16", residency, 2 ** 20);
    return [resident, streamed].map((own) => own.map(({ module }) => module).join(" "));
  };
  const rowBytes = 16;
  expect(namesOf(176 * rowBytes)).toEqual(["q k v gate up", ""]);
  expect(namesOf(144 * rowBytes)).toEqual(["k v gate up", "q"]);
  expect(namesOf(100 * rowBytes)).toEqual(["q gate", "k v up"]);
  expect(namesOf(0)).toEqual(["", "q k v gate up"]);
});
