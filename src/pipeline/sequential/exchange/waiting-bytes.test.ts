import { expect, it } from "vitest";
import { createWaitingBytes } from "./waiting-bytes.ts";

it("has room again for all who ask once enough of what waits is gone", async () => {
  const waiting = createWaitingBytes(10);
  const order: string[] = [];
  const ask = async (who: string) => {
    await waiting.room();
    order.push(who);
  };
  waiting.add(10);
  await ask("first");
  waiting.add(5);
  const asked = [ask("second"), ask("third")];
  waiting.remove(2);
  // As many turns as it takes to wake up and to see that it is still too much.
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  expect(order).toEqual(["first"]);
  waiting.remove(3);
  await Promise.all(asked);
  expect(order).toEqual(["first", "second", "third"]);
});
