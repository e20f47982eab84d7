import { expect, it } from "vitest";
import { chartErrors } from "./place-errors.ts";
import { moduleReport } from "../testing/fake-services.ts";

function reportsOf(layers: number, modules: readonly string[]) {
  return Array.from({ length: layers }, (_, layer) =>
    modules.map((name) => moduleReport(`model.layers.${layer}.${name}`, { loss: 0.1, rtnLoss: 1 })),
  ).flat();
}

it("places modules in order and errors by their powers of ten", () => {
  const reports = [
    moduleReport("model.layers.0.a", { loss: 0.01, rtnLoss: 1 }),
    moduleReport("model.layers.0.b", { loss: 0.1, rtnLoss: 0.1 }),
  ];
  const { points, ticks } = chartErrors(reports, 0);
  expect(points).toEqual([
    { module: "model.layers.0.a", x: 25, gptq: 100, rtn: 0 },
    { module: "model.layers.0.b", x: 75, gptq: 50, rtn: 50 },
  ]);
  expect(ticks).toEqual([
    { exponent: -2, y: 100 },
    { exponent: -1, y: 50 },
    { exponent: 0, y: 0 },
  ]);
});

it("leaves room for layers that have yet to come", () => {
  expect(chartErrors(reportsOf(1, ["a", "b"]), 4).points.map(({ x }) => x)).toEqual([6.25, 18.75]);
});

it("marks every other layer", () => {
  expect(chartErrors(reportsOf(4, ["a", "b"]), 0).bands).toEqual([
    { x: 25, width: 25 },
    { x: 75, width: 25 },
  ]);
});

it("keeps errors that have no power of ten inside of the chart", () => {
  const reports = [moduleReport("head", { loss: 0, rtnLoss: Number.POSITIVE_INFINITY })];
  expect(chartErrors(reports, 0).points).toEqual([{ module: "head", x: 50, gptq: 100, rtn: 0 }]);
});

it("thins out the labels of a wide range", () => {
  const reports = [moduleReport("head", { loss: 1e-9, rtnLoss: 1e9 })];
  const { ticks } = chartErrors(reports, 0);
  expect(ticks.map(({ exponent }) => exponent)).toEqual([-9, -5, -1, 3, 7]);
});

it("is empty without reports", () => {
  expect(chartErrors([], 32)).toMatchObject({ points: [], bands: [] });
});
