import { describe, expect, it } from "vitest";
import { AccessError } from "../../errors.ts";
import { openFiles, readDropped } from "./open-files.ts";

describe("openFiles", () => {
  const dropped = (path: string, content = "12345678") => ({
    path,
    file: new File([content], path.split("/").at(-1) ?? "", { lastModified: 7 }),
  });

  it("takes the common folder off and reads in place", async () => {
    const model = await openFiles([
      dropped("tiny/config.json", "{}"),
      dropped("tiny/model.safetensors"),
      dropped("tiny/sub/x.txt"),
      dropped("tiny/copy of model.txt"),
      dropped("tiny/a:b.txt"),
    ]);
    expect(model.opened).toMatchObject({
      label: "local folder tiny",
      name: "tiny",
      host: null,
      revision: null,
    });
    const names = ["config.json", "model.safetensors", "sub/x.txt", "copy of model.txt"];
    expect([...model.files.keys()]).toEqual(names);
    const file = model.files.get("model.safetensors");
    expect(
      file instanceof File &&
        new TextDecoder().decode(await readDropped("model.safetensors", file, { start: 2, end: 5 })),
    ).toBe("345");
  });

  it("knows the same files again, in any order, and tells others apart", async () => {
    const key = async (...files: Parameters<typeof openFiles>[0]) => (await openFiles(files)).opened.key;
    const a = dropped("config.json");
    const b = dropped("model.safetensors");
    expect(await key(a, b)).toBe(await key(b, a));
    expect(await key(a, b)).not.toBe(await key(a, dropped("model.safetensors", "123456789")));
  });

  it("refuses a drop without files of a model", async () => {
    await expect(openFiles([])).rejects.toThrow(AccessError);
    await expect(openFiles([dropped("my: holiday.jpg")])).rejects.toThrow(/None of the dropped files/);
  });

  it("refuses more files than a model has, rather than leave some out", async () => {
    const config = dropped("home/config.json", "{}");
    const many = Array.from({ length: 20_000 }, (_, index) => ({ ...config, path: `home/${index}.txt` }));
    await expect(openFiles([...many, config])).rejects.toThrow(
      "What was chosen holds 20001 files, and at most 20000 are taken. Choose the folder of one model, the one with its config.json.",
    );
    const taken = await openFiles([...many.slice(1), config]);
    expect(taken.files.size).toBe(20_000);
    expect(taken.files.has("config.json")).toBe(true);
  });

  it("says so when a dropped file has gone", async () => {
    const gone = new File(["x"], "config.json");
    gone.slice = () => {
      throw new DOMException("gone", "NotReadableError");
    };
    await expect(readDropped("config.json", gone, { start: 0, end: 1 })).rejects.toThrow(
      /moved or removed .* or you may not read it\. .* drop the folder again/,
    );
  });
});
