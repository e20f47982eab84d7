import { expect, it } from "vitest";
import { inOwnNames } from "./own-names.ts";

const host = "127.0.0.1:4321";
const served = (...folders: (readonly [string, string])[]) => ({ host, folders: new Map(folders) });

it("names folders as they were named, not where they are served", () => {
  const both = served(["folder/model", "/data/W4A16"], ["folder/against", "/data/original"]);
  expect(inOwnNames(`${host}/folder/model and ${host}/folder/against have 4 and 2 layers.`, both)).toBe(
    "/data/W4A16 and /data/original have 4 and 2 layers.",
  );
  expect(inOwnNames(`${host} sent nothing for 30 s.`, both)).toBe("this machine sent nothing for 30 s.");
  expect(inOwnNames(`${host} has no a.safetensors.`, served(["folder/model", "/data/W4A16"]))).toBe(
    "/data/W4A16 has no a.safetensors.",
  );
  expect(inOwnNames("huggingface.co has no such model.", served())).toBe("huggingface.co has no such model.");
});
