import { existsSync } from "node:fs";
import { mkdir, mkdtemp, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { UsageError } from "./argument-readers.ts";
import { statesHeader } from "../../../src/calibrate/states-file.ts";
import { readCompressArguments } from "./compress-arguments.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "arguments-"));
  await mkdir(join(folder, "source/inner"), { recursive: true });
  await symlink(join(folder, "source"), join(folder, "link"));
  await writeFile(join(folder, "file"), "");
  await writeFile(join(folder, "source/config.json"), "{}");
});

const refusal = (...args: string[]): string => {
  try {
    readCompressArguments(args);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return "taken";
};
const writing = (out: string) => refusal(join(folder, "source"), "--out", join(folder, out));

describe("--out", () => {
  it("is refused where it is SOURCE, lies in it, or holds it", () => {
    expect(writing("source")).toMatch(/is SOURCE itself/);
    expect(writing("source/")).toMatch(/is SOURCE itself/);
    expect(writing("link")).toMatch(/is SOURCE itself/);
    expect(writing("source/inner/../out")).toMatch(/lies in SOURCE/);
    expect(writing("link/out/deeper")).toMatch(/lies in SOURCE/);
    expect(writing(".")).toMatch(/holds SOURCE/);
    expect(writing("file")).toMatch(/is a file/);
    expect(existsSync(join(folder, "source/out"))).toBe(false);
  });

  it("is refused where it is empty, which a shell makes of a variable that is not set", () => {
    for (const out of ["", " "])
      expect(refusal("owner/name", "--out", out)).toBe(
        "--out is given an empty value. Say what it is, or leave it out.",
      );
    expect(refusal("owner/name")).toMatch(/--out is missing/);
  });

  it("is taken beside SOURCE, also where it does not exist, or is called much the same", () => {
    for (const out of ["out", "source-W4A16", "..out", "some/where"]) expect(writing(out)).toBe("taken");
  });
});

it("a file that is a folder or a device, and a fraction that is none, are told apart from what is missing", () => {
  const asking = (...args: string[]) => refusal("owner/name", "--out", join(folder, "out"), ...args);
  expect(asking("--calibration", join(folder, "none"))).toMatch(/none: there is no such file\.$/);
  expect(asking("--calibration", folder)).toMatch(/ is a folder\. Name a file\.$/);
  expect(asking("--calibration", "/dev/null")).toMatch(/ is a device or a pipe\. Name a file\.$/);
  const damping = (text: string) => asking("--recipe", "gptq-W4A16", "--dampening-frac", text);
  for (const text of ["x", "2", "0x1g"]) expect(damping(text)).toMatch(/is not between 0 and 1/);
  expect(damping("0.5")).toBe("taken");
});

describe("SOURCE", () => {
  const reading = (source: string) => refusal(source, "--out", join(folder, "out"));

  it("that is no folder and no address is refused", () => {
    for (const source of ["/no/such/folder", "./missing", "missing/", "some/missing/folder", "missing"])
      expect(reading(source)).toMatch(/is no folder of this machine, and no address/);
    expect(reading(join(folder, "file"))).toMatch(/is a file\. Name the folder/);
    expect(reading("ftp://models.example/tiny")).toMatch(/not an address that can be fetched/);
    expect(reading("file:///models/tiny")).toMatch(/Name the folder by its path alone/);
    for (const source of ["", " "])
      expect(reading(source)).toBe("SOURCE is empty. Name an id, a URL or a folder.");
  });

  it("that is a folder without a file is refused, of which a browser would say nothing", async () => {
    await mkdir(join(folder, "empty/inner/deeper"), { recursive: true });
    await symlink("..", join(folder, "empty/inner/circle"));
    for (const link of ["nowhere", "self"]) await symlink(link, join(folder, `empty/inner/to-${link}`));
    await symlink("self", join(folder, "empty/inner/self"));
    expect(reading(join(folder, "empty"))).toMatch(/is a folder without a file .* config\.json/);
    await writeFile(join(folder, "empty/inner/deeper/config.json"), "{}");
    expect(reading(join(folder, "empty"))).toBe("taken");
  });

  it("may be an id or a URL", () => {
    for (const source of [
      "owner/name",
      "owner/name@main",
      "https://models.example/tiny",
      "http://localhost:8000/tiny/",
    ])
      expect(reading(source)).toBe("taken");
  });
});

it("a GPU budget is an amount, and not too little for anything", () => {
  const budget = (amount: string) =>
    refusal("owner/name", "--out", join(folder, "out"), "--gpu-budget", amount);
  expect(budget("12MiB")).toBe("--gpu-budget 12MiB is too little: 32 MiB is the least.");
  expect(budget("much")).toMatch(/not an amount such as 2GiB/);
  expect(budget("32MiB")).toBe("taken");
});

it("an option that nothing would be done for is refused", () => {
  const options = (source: string, ...more: string[]) =>
    refusal(source, "--out", join(folder, "out"), ...more);
  for (const part of ["--split", "--config"])
    expect(options("owner/name", part, "test")).toMatch(/needs --dataset/);
  expect(options("owner/name", "--column", "text")).toMatch(/neither is given/);
  expect(options("owner/name", "--split", "test", "--column", "text", "--dataset", "a/b")).toBe("taken");
  for (const option of [["--keep-source"], ["--token", "hf_x"]]) {
    expect(options(join(folder, "source"), ...option)).toMatch(
      /changes nothing for a folder of this machine/,
    );
    expect(options("owner/name", ...option)).toBe("taken");
  }
});

it("what cannot be published is told before the job", () => {
  const pushing = (...args: string[]) =>
    refusal("owner/name", "--out", join(folder, "out"), "--push", ...args);
  for (const name of ["tiny", "ada/", "/tiny", "ada/tiny/more", "a b/tiny", "ada/ti..ny"])
    expect(pushing(name, "--token", "hf_x")).toMatch(/names no repository/);
  for (const token of ["x", "hf_", "hf_ä", "hf_x y"])
    expect(pushing("ada/tiny", "--token", token)).toMatch(/a token of the Hub, which begins with “hf_”/);
  const share = (of: string) => pushing("ada/tiny", "--token", "hf_x", "--share", of, "--exchange", "x");
  expect(share("2/2")).toMatch(/--push publishes what share 1 writes/);
  expect(share("1/2")).toBe("taken");
});

it("a data set is one of its configurations and splits", () => {
  const read = (...args: string[]) =>
    readCompressArguments(["owner/name", "--out", join(folder, "out"), "--dataset", "a/b", ...args])
      ?.calibration.dataset;
  expect(read()).toEqual({ name: "a/b", config: null, split: "train", column: null });
  expect(read("--config", "en", "--split", "test", "--column", "text")).toEqual({
    name: "a/b",
    config: "en",
    split: "test",
    column: "text",
  });
});

it("--ignore is a list whose patterns may have commas in braces", () => {
  const read = readCompressArguments([
    "owner/name",
    "--out",
    join(folder, "out"),
    "--ignore",
    "lm_head, re:.*(q|k){1,2}_proj",
  ]);
  expect(read?.recipe.ignore).toEqual(["lm_head", "re:.*(q|k){1,2}_proj"]);
  const none = readCompressArguments(["owner/name", "--out", join(folder, "out"), "--ignore", ""]);
  expect(none?.recipe.ignore).toEqual([]);
});

describe("several recipes", () => {
  const asking = (...args: string[]) => refusal("owner/name", "--out", join(folder, "out"), ...args);
  const both = ["--recipe", "gptq-W4A16", "--recipe", "W8A8"];

  it("are written into folders that every disk tells apart", () => {
    expect(asking(...both)).toBe("taken");
    expect(asking("--recipe", "W4A16", "--recipe", "w4a16")).toMatch(/into the folder w4a16/);
  });

  it("lend each other the error of one of them", () => {
    expect(asking(...both, "--propagate", "GPTQ-w4a16")).toBe("taken");
    expect(asking(...both, "--propagate", "gptq-W8A8")).toMatch(/gptq-W8A8 names none of several results/);
    expect(asking("--recipe", "gptq-W4A16", "--propagate", "gptq-W4A16")).toMatch(/two at least/);
    expect(asking("--propagate", "W4A16")).toMatch(/two at least/);
  });

  it("are divided in jobs of their own, and a wanted size not at all", () => {
    const share = ["--share", "1/2", "--exchange", join(folder, "x")];
    for (const part of [["--layers", "0..1"], ["--states-at", "1"], share]) {
      expect(asking(...both, ...part)).toMatch(/divides the job of one recipe/);
      expect(asking("--target-bits", "5", ...part)).toMatch(/a wanted size is measured on the whole model/);
    }
    const planning = (...args: string[]) => refusal("owner/name", "--plan", "--parts", "2", ...args);
    expect(planning(...both)).toMatch(/--plan divides the job of one recipe/);
    expect(planning("--target-size", "5GB")).toMatch(/Leave --plan out, or name the recipe\.yaml/);
    expect(planning("--recipe", "W8A8")).toBe("taken");
  });
});

describe("a part", () => {
  const asking = (...args: string[]) => refusal("owner/name", "--out", join(folder, "out"), ...args);

  it("is a range that includes its last layer, or the rest", () => {
    const read = (layers: string) =>
      readCompressArguments(["owner/name", "--out", join(folder, "out"), "--layers", layers]);
    expect(read("4..7")).toMatchObject({ part: { kind: "layers", first: 4, last: 7 } });
    expect(read("0..0")).toMatchObject({ part: { kind: "layers", first: 0, last: 0 } });
    expect(read("rest")).toMatchObject({ part: { kind: "rest" } });
    for (const layers of ["4", "7..4", "-1..2", "4...7", "4..", "all", "1e3..2e3"])
      expect(asking(`--layers=${layers}`)).toMatch(/is no range such as 4\.\.7/);
  });

  it("begins with hidden states, or makes them", async () => {
    const states = join(folder, "states");
    await mkdir(states);
    const facts = { job: "j", version: "v", layer: 4, forwardProducts: "16x16x16", firstToken: 0 };
    const header = statesHeader(facts, { dtype: "F32", tokens: 0, hiddenSize: 8 });
    await writeFile(join(states, "states-4.safetensors"), header);
    await writeFile(join(states, "states-9.safetensors"), "");
    const read = (...args: string[]) =>
      readCompressArguments(["owner/name", "--out", join(folder, "out"), ...args]);
    const part = { kind: "layers", first: 4, last: 7, forwardProducts: "16x16x16" };
    expect(read("--layers", "4..7", "--from-states", states)).toMatchObject({
      part,
      statesFiles: [join(states, "states-4.safetensors")],
    });
    expect(read("--layers", "0..3", "--from-states", states)).toMatchObject({
      part: { first: 0, forwardProducts: "16x16x16" },
      statesFiles: [],
    });
    expect(read("--states-at", "8,4,4")).toMatchObject({ part: { kind: "states", at: [4, 8] } });
    const second = { kind: "states", at: [4], share: { index: 1, of: 3 } };
    expect(read("--states-at", "4", "--samples-of", "2/3")).toMatchObject({ part: second });
    for (const share of ["0/3", "4/3", "2", "1/0"])
      expect(asking("--states-at", "4", "--samples-of", share)).toMatch(/is no share such as 2\/3/);
    expect(asking("--layers", "0..3", "--samples-of", "1/2")).toMatch(/it needs --states-at/);
    expect(asking("--states-at", "4..8")).toMatch(/is no list of layers such as 4,8,12/);
    expect(asking("--states-at", "4", "--layers", "0..3")).toMatch(/goes without --layers/);
    const other = join(folder, "other-states");
    await mkdir(other);
    const plain = statesHeader(
      { ...facts, forwardProducts: "F32" },
      { dtype: "F32", tokens: 0, hiddenSize: 8 },
    );
    await writeFile(join(other, "states-4.safetensors"), plain);
    expect(asking("--layers", "4..7", "--from-states", states, "--from-states", other)).toMatch(
      /on different units of the GPU \(16x16x16 and F32\)/,
    );
    expect(asking("--from-states", states)).toMatch(/it needs --layers A\.\.B/);
    expect(asking("--from-states", states, "--layers", "rest")).toMatch(/it needs --layers A\.\.B/);
    expect(asking("--from-states", states, "--layers", "5..7")).toMatch(/has no states-5\.safetensors/);
    expect(asking("--from-states", states, "--layers", "9..9")).toMatch(/too few/);
  });

  it("may be a share of the samples", () => {
    const read = (...args: string[]) =>
      readCompressArguments(["owner/name", "--out", join(folder, "out"), ...args]);
    const share = { index: 1, of: 3, folder: join(folder, "x"), patienceSeconds: 9 };
    const asked = ["--share", "2/3", "--exchange", join(folder, "x"), "--patience", "9"];
    expect(read(...asked)).toMatchObject({ share });
    expect(read()).toMatchObject({ share: null });
    expect(asking("--share", "2/3")).toMatch(/--share needs --exchange FOLDER/);
    expect(asking("--exchange", "x")).toMatch(/it needs --share I\/N/);
    expect(asking("--share", "0/3", "--exchange", "x")).toMatch(/is no share such as 2\/3/);
    expect(asking("--share", "1/3", "--exchange", "x", "--patience", "soon")).toMatch(/no number of seconds/);
    expect(asking("--share", "1/3", "--exchange", "")).toMatch(/--exchange is given an empty value/);
    const exchanging = (place: string) =>
      refusal(join(folder, "source"), "--out", join(folder, "out"), "--share", "1/3", "--exchange", place);
    expect(exchanging(join(folder, "link"))).toMatch(/is SOURCE itself/);
    expect(exchanging(join(folder, "source/x"))).toMatch(/lies in SOURCE: what shares exchange/);
    expect(exchanging(folder)).toBe("taken");
  });

  it("is planned with nothing that would be written", () => {
    expect(asking("--parts", "4")).toMatch(/--parts says how many ranges --plan prints/);
    expect(asking("--plan", "--parts", "4")).toMatch(/--out changes nothing beside --plan/);
    expect(refusal("owner/name", "--plan")).toMatch(/--parts N says into how many/);
    expect(refusal("owner/name", "--plan", "--parts", "0")).toMatch(/--parts N says into how many/);
    expect(refusal("owner/name", "--plan", "--parts", "4", "--layers", "0..3")).toMatch(
      /--layers changes nothing/,
    );
    expect(readCompressArguments(["owner/name", "--plan", "--parts", "4"])).toMatchObject({ parts: 4 });
  });
});
