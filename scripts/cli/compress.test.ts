import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { compressFromCommandLine } from "./compress.ts";

it("what the system says of a path in the command line is told in a sentence, without a trace", async () => {
  const told = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const said = vi.spyOn(console, "log").mockImplementation(() => undefined);
  const long = join(tmpdir(), "x".repeat(300));
  const args = ["owner/name", "--out", join(tmpdir(), "out"), "--calibration", long, "--json"];
  expect(await compressFromCommandLine(args)).toBe(2);
  const sentence = `${long} could not be written or read: its name is longer than this disk takes. Choose another folder.`;
  expect(told.mock.calls).toEqual([[sentence]]);
  const failure = { ok: false, error: { name: "StorageError", message: sentence } };
  expect(said.mock.calls).toEqual([[JSON.stringify(failure)]]);
  vi.restoreAllMocks();
});
