import { beforeAll, expect, it } from "vitest";
import { provideBrowserGlobals } from "../../../testing/stand-ins/browser-globals.ts";
import { openComing } from "./coming-files.ts";

beforeAll(provideBrowserGlobals);

it("tells who waits for a file that there will be none, once it stops", async () => {
  const never = Promise.withResolvers<Uint8Array<ArrayBuffer>>();
  const coming = openComing([0, 1, 2], 1, async () => await never.promise);
  coming.begin();
  const asked = [0, 1, 2].map(async (place) => await coming.get(place));
  coming.stop();
  for (const each of asked) await expect(each).rejects.toThrow("Another part of the job failed.");
});
