import { describe, expect, it } from "vitest";
import { keepTensor } from "./keep-tensor.ts";

const BYTES = Uint8Array.from({ length: 22 }, (_, index) => index);

function setUp() {
  const reads: string[] = [];
  const kept = keepTensor(
    BYTES.length,
    async (start, end) => {
      reads.push(`${start}..${end}`);
      return await Promise.resolve(BYTES.slice(start, end));
    },
    8,
  );
  return { kept, reads };
}

describe("keepTensor", () => {
  it("reads each block once, when it is first asked for", async () => {
    const { kept, reads } = setUp();
    const asked = await Promise.all([kept(3, 5), kept(6, 10)]);
    expect(asked).toEqual([BYTES.slice(3, 5), BYTES.slice(6, 10)]);
    expect(reads).toEqual(["0..8", "8..16"]);
    expect(await kept(0, BYTES.length)).toEqual(BYTES);
    expect(reads).toEqual(["0..8", "8..16", "16..22"]);
  });
});
