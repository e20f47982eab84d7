import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { releaseFromCommandLine } from "./release.ts";

it("a release replaces an earlier release alone, and no file", async () => {
  const said = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const folder = await mkdtemp(join(tmpdir(), "release-"));
  const file = join(folder, "notes.txt");
  await writeFile(file, "kept");
  for (const out of [file, folder]) expect(await releaseFromCommandLine(["--out", out])).toBe(2);
  expect(await releaseFromCommandLine(["--out", ""])).toBe(2);
  expect(await releaseFromCommandLine(["--out", join(folder, "new"), "--hub", "nonsense"])).toBe(2);
  expect(said.mock.calls.flat().filter((line) => !line.startsWith("\n"))).toEqual([
    `--out ${file} is there and is no earlier release. Name a folder that does not exist.`,
    `--out ${folder} is there and is no earlier release. Name a folder that does not exist.`,
    "--out is given an empty value. Say what it is, or leave it out.",
    "--hub nonsense is no address such as https://huggingface.co.",
  ]);
  expect(await readdir(folder)).toEqual(["notes.txt"]);
  expect(await readFile(file, "utf8")).toBe("kept");
  said.mockRestore();
});
