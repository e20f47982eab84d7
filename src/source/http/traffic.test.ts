import { describe, expect, it } from "vitest";
import { createTraffic } from "./traffic.ts";

describe("createTraffic", () => {
  it("gives the rate of the last seconds, and 0 when nothing flows", () => {
    let now = 0;
    const traffic = createTraffic(() => now);
    expect(traffic.bytesPerSecond()).toBe(0);
    for (now = 0; now < 10_000; now += 100) traffic.received(100_000);
    expect(traffic.bytesPerSecond()).toBeGreaterThan(950_000);
    expect(traffic.bytesPerSecond()).toBeLessThan(1_050_000);
    expect(traffic.downloadedBytes).toBe(10_000_000);
    now += 2500;
    expect(traffic.bytesPerSecond()).toBeLessThan(600_000);
    now += 5000;
    expect(traffic.bytesPerSecond()).toBe(0);
  });

  it("shows the oldest wait that still lasts", () => {
    const traffic = createTraffic();
    const [first, second] = [{}, {}];
    traffic.waiting(first, "waiting 8 s");
    traffic.waiting(second, "waiting 1 s");
    expect(traffic.wait).toBe("waiting 8 s");
    traffic.waiting(first, null);
    expect(traffic.wait).toBe("waiting 1 s");
    traffic.waiting(second, null);
    expect(traffic.wait).toBeNull();
  });
});
