import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { firstLoad } from "./limit-first-load.ts";

it("counts what the page names and what its scripts import, once each, and nothing that is loaded later", () => {
  const page = `<link rel="icon" href="./icon.svg" /><script src="./assets/index.js"></script><a href="https://else.where/">`;
  const files = {
    "assets/index.js": { type: "chunk", imports: ["assets/shared.js"], dynamicImports: ["assets/later.js"] },
    "assets/shared.js": { type: "chunk", imports: ["assets/index.js"] },
    "assets/later.js": { type: "chunk", imports: [] },
  } as const;
  const text = (path: string) => new TextEncoder().encode(path === "index.html" ? page : `// ${path}`);
  const sizes = firstLoad("index.html", files, text);
  expect([...sizes.keys()].toSorted()).toEqual([
    "assets/index.js",
    "assets/shared.js",
    "icon.svg",
    "index.html",
  ]);
  expect(sizes.get("icon.svg")).toBe(gzipSync(text("icon.svg"), { level: 9 }).byteLength);
});
