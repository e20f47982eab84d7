// A params struct is described once: this gives its TypeScript type and its bytes; a unit test holds it against the
// WGSL struct of the same kernel. Only 32-bit scalars are used, so that WGSL's layout has no padding.

export type Scalar = "u32" | "i32" | "f32";

export interface Struct<Fields extends Readonly<Record<string, Scalar>>> {
  readonly fields: Fields;
  readonly bytes: number;
}

export type StructValue<S> =
  S extends Struct<infer Fields> ? { readonly [Name in keyof Fields]: number } : never;

export function struct<const Fields extends Readonly<Record<string, Scalar>>>(
  fields: Fields,
): Struct<Fields> {
  return { fields, bytes: Object.keys(fields).length * 4 };
}

/** Writes the fields in the order of their declaration at `offset`. */
export function writeStruct(
  layout: Struct<Readonly<Record<string, Scalar>>>,
  values: Readonly<Record<string, number>>,
  view: DataView,
  offset: number,
): void {
  let position = offset;
  for (const [name, scalar] of Object.entries(layout.fields)) {
    const value = values[name];
    if (value === undefined) throw new Error(`Defect: the params field "${name}" is missing`);
    if (!fits(scalar, value))
      throw new Error(`Defect: the params field "${name}" is ${value}, which no ${scalar} holds`);
    if (scalar === "f32") view.setFloat32(position, value, true);
    else if (scalar === "i32") view.setInt32(position, value, true);
    else view.setUint32(position, value, true);
    position += 4;
  }
}

/** A number that another would be written for: beyond 32 bits, a fraction, or NaN. Floats may be anything. */
function fits(scalar: Scalar, value: number): boolean {
  if (scalar === "f32") return true;
  return scalar === "i32" ? (value | 0) === value : value >>> 0 === value;
}
