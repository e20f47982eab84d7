import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { StructInfo, WgslReflect } from "wgsl_reflect/wgsl_reflect.module.js";
import { everyKernel } from "../testing/test-gpu/every-kernel.ts";

const kernels = await everyKernel();

/** The code without aliases and with empty function bodies: the reflection library does not parse all of WGSL. */
function declarations(code: string): string {
  let depth = 0;
  let inFunction = false;
  return code.replace(/\/\/.*$|^alias .*$/gm, "").replaceAll(/\bfn\b|[{}]|[^{}f]+|f/g, (token) => {
    if (token === "fn") inFunction = true;
    if (token === "{" && inFunction) return depth++ === 0 ? token : "";
    if (token === "}" && inFunction) {
      if (--depth > 0) return "";
      inFunction = false;
      return token;
    }
    return depth > 0 ? "" : token;
  });
}

function wgslFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? wgslFiles(path) : path.endsWith(".wgsl") ? [path] : [];
  });
}

describe.each(kernels.map((kernel) => [kernel.name, kernel] as const))("%s", (_name, kernel) => {
  const reflected = new WgslReflect(declarations(kernel.code.join("\n")));

  it("has the params struct that its wrapper writes", () => {
    const params = reflected.uniforms.find(({ group, binding }) => group === 0 && binding === 0);
    const members = params?.type instanceof StructInfo ? params.type.members : [];
    expect(members.map(({ name, offset, type }) => [name, offset, type.name])).toEqual(
      Object.entries(kernel.params.fields).map(([name, scalar], index) => [name, index * 4, scalar]),
    );
  });

  it("has the storage buffers that its wrapper binds, with their access", () => {
    const storage = reflected.storage.map(({ name, group, binding, access }) => ({
      name,
      group,
      binding,
      access,
    }));
    const declared = Object.entries(kernel.bindings).map(([name, access], index) => ({
      name,
      group: 0,
      binding: index + 1,
      access,
    }));
    expect(storage.toSorted((a, b) => a.binding - b.binding)).toEqual(declared);
    // The smallest adapters allow eight storage buffers.
    expect(declared.length).toBeLessThanOrEqual(8);
  });

  it("has its entry point and the override constants that callers set", () => {
    expect(reflected.entry.compute.map(({ name }) => name)).toContain(kernel.entryPoint);
    const overrides = reflected.overrides.map(({ name }) => name);
    expect(overrides).toEqual(expect.arrayContaining([...kernel.constants]));
  });
});

describe("kernels", () => {
  it("have names of their own", () => {
    expect(new Set(kernels.map(({ name }) => name)).size).toBe(kernels.length);
  });

  it("use every .wgsl file of the project", () => {
    const used = new Set(kernels.flatMap(({ code }) => code));
    const unused = wgslFiles("src").filter((path) => !used.has(readFileSync(path, "utf8")));
    expect(unused).toEqual([]);
  });
});
