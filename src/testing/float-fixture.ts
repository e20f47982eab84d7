// The fixtures in float32, whose layers take factors in Node.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { widenToFloat32 } from "../formats/numbers/dtype.ts";
import { type HostLayer, memoryLayer } from "../onload/host-layer.ts";
import { type FixtureTensors, floatDtype } from "./architecture-fixture.ts";
import { openMemoryFile, tensorOf } from "./golden.ts";

export const FIXTURES = "e2e/fixtures/architectures";

/** A fixture's tensors in float32, so that nothing is rounded but the factors' own products. */
export function floatFixture(name: string): { config: Record<string, unknown>; tensors: FixtureTensors } {
  const config: Record<string, unknown> = JSON.parse(
    readFileSync(join(FIXTURES, name, "config.json"), "utf8"),
  );
  const file = openMemoryFile(new Uint8Array(readFileSync(join(FIXTURES, name, "model.safetensors"))));
  const tensors = file.entries.map((entry) => {
    const values = widenToFloat32(floatDtype(entry.dtype), tensorOf(file, entry.name));
    return [entry.name, { ...entry, dtype: "F32" as const, bytes: new Uint8Array(values.buffer) }] as const;
  });
  return { config, tensors: new Map(tensors) };
}

/** Copies of the tensors, and a layer in host memory that holds the same bytes. */
export function hostOf(tensors: FixtureTensors): { copies: FixtureTensors; host: HostLayer } {
  const copies = new Map(
    Array.from(tensors, ([name, tensor]) => [name, { ...tensor, bytes: tensor.bytes.slice() }]),
  );
  const host = Array.from(copies, ([name, { shape, bytes }]) => {
    const columns = shape.length > 1 ? (shape.at(-1) ?? 1) : 1;
    return [name, { dtype: "F32" as const, columns, bytes }] as const;
  });
  return { copies, host: memoryLayer(host) };
}
