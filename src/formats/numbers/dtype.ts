// Number formats of safetensors files, and their conversion on the CPU. The GPU has its own copy of these roundings
// in gpu/elements/number-formats.wgsl; both follow IEEE 754 round-half-to-even.

/** Bits per element of every dtype that safetensors knows (safetensors `Dtype::bitsize`). */
export const DTYPE_BITS = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type Dtype = keyof typeof DTYPE_BITS;

/** The dtypes that a weight to be quantized may have. */
export type FloatDtype = "BF16" | "F16" | "F32";

export function isDtype(name: string): name is Dtype {
  return Object.hasOwn(DTYPE_BITS, name);
}

export function isFloatDtype(dtype: Dtype): dtype is FloatDtype {
  return dtype === "BF16" || dtype === "F16" || dtype === "F32";
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

function bitsOf(value: number): number {
  scratchFloat[0] = value;
  return scratchBits[0] ?? 0;
}

function fromBits(bits: number): number {
  scratchBits[0] = bits;
  return scratchFloat[0] ?? 0;
}

export function bf16ToNumber(bits: number): number {
  return fromBits(bits << 16);
}

/** Rounds to the nearest bfloat16, ties to even; NaN stays NaN. Returns its 16 bits. */
export function numberToBf16(value: number): number {
  return roundBitsToBf16(bitsOf(value));
}

/** The same from the bits of a float32. */
function roundBitsToBf16(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

export function f16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

/** Rounds a float32 value to the nearest float16, ties to even; overflow becomes infinity. Returns its 16 bits. */
export function numberToF16(value: number): number {
  const bits = bitsOf(value);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(fromBits(bits));
  if (Number.isNaN(magnitude)) return sign | 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  const exponent = Math.max(Math.floor(Math.log2(magnitude || 2 ** -30)), -14);
  const step = 2 ** (exponent - 10);
  const scaled = roundHalfToEven(magnitude / step);
  const carried = scaled === 2048 ? { exponent: exponent + 1, scaled: 1024 } : { exponent, scaled };
  if (carried.scaled < 1024) return sign | carried.scaled;
  return sign | ((carried.exponent + 15) << 10) | (carried.scaled - 1024);
}

/** Rounds to the nearest integer, ties to even: torch.round, and WGSL's round(). */
export function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const fraction = value - floor;
  if (fraction < 0.5) return floor;
  if (fraction > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Rounds a number to what `dtype` can hold, as torch does after every operation in that dtype. */
export function roundTo(dtype: FloatDtype, value: number): number {
  if (dtype === "BF16") return bf16ToNumber(numberToBf16(value));
  if (dtype === "F16") return f16ToNumber(numberToF16(Math.fround(value)));
  return Math.fround(value);
}

/** Widens the raw bytes of a BF16, F16 or F32 tensor to float32. The bytes may have any alignment. */
export function widenToFloat32(dtype: FloatDtype, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const floats = new Float32Array((bytes.byteLength * 8) / DTYPE_BITS[dtype]);
  widenInto(dtype, bytes, floats, 0);
  return floats;
}

/** `widenToFloat32` into an array that is there: to make a large one anew takes several times as long as to fill it. */
export function widenInto(dtype: FloatDtype, bytes: Uint8Array, floats: Float32Array, start: number): void {
  if (dtype === "F32") {
    floats.set(new Float32Array(bytes.slice().buffer), start);
    return;
  }
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  const halves = new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 2);
  // Plain loops: a billion values of a calibration set take seconds in them, and minutes in Float32Array.from.
  if (dtype === "BF16") {
    const words = new Uint32Array(floats.buffer, floats.byteOffset + start * 4, halves.length);
    for (let at = 0; at < halves.length; at++) words[at] = (halves[at] ?? 0) << 16;
  } else {
    for (let at = 0; at < halves.length; at++) floats[start + at] = f16ToNumber(halves[at] ?? 0);
  }
}

/** Narrows float32 values to the bytes of a BF16, F16 or F32 tensor. */
export function narrowFromFloat32(dtype: FloatDtype, values: Float32Array): Uint8Array<ArrayBuffer> {
  if (dtype === "F32") return new Uint8Array(values.slice().buffer);
  const halves = new Uint16Array(values.length);
  if (dtype === "BF16") {
    const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
    for (let at = 0; at < halves.length; at++) halves[at] = roundBitsToBf16(words[at] ?? 0);
  } else {
    for (let at = 0; at < halves.length; at++) halves[at] = numberToF16(values[at] ?? 0);
  }
  return new Uint8Array(halves.buffer);
}
