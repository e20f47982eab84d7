// A GPU for tests of the conductor, where arithmetic does not matter but what follows from what does. Buffers, copies and
// mapping are real. Of the kernels, those that round to nearest are computed as they are; every other one fills what it writes
// with numbers that follow from the first words of what it reads, so that a step that starts from something else ends in
// other bytes. It can be lost at any submit, and refuse any buffer.

/** What is compiled into a kernel, by name. */
export type Constants = Readonly<Record<string, number>>;

type Rule = (bound: readonly BoundBuffer[], params: DataView, constants: Constants) => void;

interface BoundBuffer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly writable: boolean;
}

export interface StubGpu {
  readonly submits: number;
  /** What the buffers that were made are called, in order. */
  readonly labels: readonly string[];
  /** Bytes of buffers that were made and not destroyed. */
  readonly liveBytes: number;
  /** The same when devices were destroyed, which takes with it what is left: one figure a device. */
  readonly leftBytes: readonly number[];
  /** The most that was taken at any time: what is destroyed keeps its memory until a later submit, as in browsers. */
  readonly mostHeldBytes: number;
  /** What buffers were called that something used behind their destruction, or the GPU while they were mapped. */
  readonly usedBehind: readonly string[];
  /** The device of this submit is lost; the next one works again. */
  loseAt(submit: number): void;
  /** There is no memory for the buffer at this place among all; there is for the next one. */
  refuseAt(place: number): void;
  adapter(): GPUAdapter;
}

interface StubState {
  submits: number;
  readonly labels: string[];
  liveBytes: number;
  leavingBytes: number;
  mostHeldBytes: number;
  readonly leftBytes: number[];
  readonly usedBehind: string[];
  loseAt: number;
  refuseAt: number;
}

/** An error scope of a device. */
interface StubScope {
  readonly filter: GPUErrorFilter;
  error: { readonly message: string } | null;
}

const LIMITS = {
  maxBufferSize: 256 * 1024 ** 2,
  maxStorageBufferBindingSize: 128 * 1024 ** 2,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxStorageBuffersPerShaderStage: 8,
};

/** The flags that a browser has as globals. */
export const GPU_GLOBALS = {
  GPUBufferUsage: {
    MAP_READ: 1,
    MAP_WRITE: 2,
    COPY_SRC: 4,
    COPY_DST: 8,
    UNIFORM: 64,
    STORAGE: 128,
    QUERY_RESOLVE: 512,
  },
  GPUMapMode: { READ: 1, WRITE: 2 },
  GPUShaderStage: { COMPUTE: 4 },
};

export function createStubGpu(rules: Readonly<Record<string, Rule>>): StubGpu {
  const never = { loseAt: Number.POSITIVE_INFINITY, refuseAt: Number.POSITIVE_INFINITY };
  const memory = { liveBytes: 0, leavingBytes: 0, mostHeldBytes: 0, leftBytes: [] };
  const state: StubState = { submits: 0, labels: [], usedBehind: [], ...memory, ...never };
  return {
    get submits() {
      return state.submits;
    },
    labels: state.labels,
    get liveBytes() {
      return state.liveBytes;
    },
    get mostHeldBytes() {
      return state.mostHeldBytes;
    },
    leftBytes: state.leftBytes,
    usedBehind: state.usedBehind,
    loseAt(submit) {
      state.loseAt = submit;
    },
    refuseAt(place) {
      state.refuseAt = place;
    },
    adapter() {
      const info = { vendor: "stub", architecture: "stub", description: "", isFallbackAdapter: true };
      const requestDevice = async () => await Promise.resolve(createDevice(state, rules));
      return { info, limits: LIMITS, features: new Set(), requestDevice } as unknown as GPUAdapter;
    },
  };
}

class StubBuffer {
  readonly label: string;
  readonly size: number;
  mapState = "unmapped";

  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #isLost: () => boolean;
  readonly #state: StubState;
  #isLive = true;

  constructor({ label = "", size }: GPUBufferDescriptor, state: StubState, isLost: () => boolean) {
    this.#isLost = isLost;
    this.#state = state;
    state.liveBytes += size;
    state.mostHeldBytes = Math.max(state.mostHeldBytes, state.liveBytes + state.leavingBytes);
    this.label = label;
    this.size = size;
    this.#bytes = new Uint8Array(size);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    if (!this.#isLive) this.#state.usedBehind.push(this.label);
    return this.#bytes;
  }

  /** What a command that is submitted works with. */
  get submitted(): Uint8Array<ArrayBuffer> {
    if (this.mapState !== "unmapped") this.#state.usedBehind.push(`${this.label} while mapped`);
    return this.bytes;
  }

  async mapAsync(): Promise<void> {
    if (!this.#isLive) this.#state.usedBehind.push(this.label);
    this.mapState = "pending";
    await Promise.resolve();
    if (this.#isLost() || !this.#isLive) throw new DOMException("The buffer is gone.", "AbortError");
    this.mapState = "mapped";
  }

  getMappedRange(offset = 0, size = this.size - offset): ArrayBuffer {
    // A view would do, but callers wrap what they get in an array of its own.
    const range = this.bytes.buffer.slice(offset, offset + size);
    this.#mapped.push({ offset, range });
    return range;
  }

  readonly #mapped: { offset: number; range: ArrayBuffer }[] = [];

  unmap(): void {
    for (const { offset, range } of this.#mapped.splice(0)) this.bytes.set(new Uint8Array(range), offset);
    this.mapState = "unmapped";
  }

  destroy(): void {
    this.mapState = "unmapped";
    if (!this.#isLive) return;
    this.#isLive = false;
    this.#state.liveBytes -= this.size;
    this.#state.leavingBytes += this.size;
  }
}

function stubOf(buffer: GPUBuffer): StubBuffer {
  return buffer as unknown as StubBuffer;
}

function createDevice(state: StubState, rules: Readonly<Record<string, Rule>>): GPUDevice {
  const lost = Promise.withResolvers<GPUDeviceLostInfo>();
  let isLost = false;
  const done = async () => {
    await Promise.resolve();
    if (isLost) throw new Error("the device is lost");
  };
  const scopes: StubScope[] = [];
  const device = {
    limits: LIMITS,
    features: new Set<string>(),
    lost: lost.promise,
    addEventListener: () => undefined,
    removeEventListener: () => undefined,
    destroy: () => void state.leftBytes.push(state.liveBytes),
    pushErrorScope: (filter: GPUErrorFilter) => void scopes.push({ filter, error: null }),
    popErrorScope: async () => await Promise.resolve(scopes.pop()?.error ?? null),
    createBuffer(descriptor: GPUBufferDescriptor) {
      const at = state.labels.push(descriptor.label ?? "") - 1;
      const scope = scopes.findLast(({ filter }) => filter === "out-of-memory");
      if (at === state.refuseAt && scope)
        scope.error = { message: "No memory is left.\n - While it is made.\n" };
      return new StubBuffer(descriptor, state, () => isLost);
    },
    createShaderModule: () => ({}),
    createPipelineLayout: () => ({}),
    createBindGroupLayout: ({ entries }: GPUBindGroupLayoutDescriptor) => ({ entries: [...entries] }),
    createComputePipelineAsync: async ({ label = "", compute }: GPUComputePipelineDescriptor) =>
      await Promise.resolve({ label, constants: compute.constants ?? {} }),
    createBindGroup: (descriptor: GPUBindGroupDescriptor) => descriptor,
    createCommandEncoder: () => createEncoder(rules),
    queue: {
      writeBuffer: (buffer: GPUBuffer, offset: number, data: Uint8Array) =>
        stubOf(buffer).bytes.set(data, offset),
      submit(commands: readonly (readonly (() => void)[])[]) {
        state.submits++;
        state.leavingBytes = 0;
        if (state.submits === state.loseAt) {
          isLost = true;
          lost.resolve({ reason: "unknown", message: "stub" } as GPUDeviceLostInfo);
        }
        if (!isLost) for (const command of commands.flat()) command();
      },
      onSubmittedWorkDone: done,
    },
  };
  return device as unknown as GPUDevice;
}

function createEncoder(rules: Readonly<Record<string, Rule>>) {
  const commands: (() => void)[] = [];
  return {
    beginComputePass: () => createPass(commands, rules),
    copyBufferToBuffer(from: GPUBuffer, fromOffset: number, to: GPUBuffer, toOffset: number, bytes: number) {
      commands.push(() => {
        const part = stubOf(from).submitted.subarray(fromOffset, fromOffset + bytes);
        stubOf(to).submitted.set(part, toOffset);
      });
    },
    clearBuffer(buffer: GPUBuffer, offset: number, bytes: number) {
      commands.push(() => stubOf(buffer).submitted.fill(0, offset, offset + bytes));
    },
    finish: () => commands,
  };
}

function createPass(commands: (() => void)[], rules: Readonly<Record<string, Rule>>) {
  let pipeline: { readonly label: string; readonly constants: Constants } = { label: "", constants: {} };
  let group: { layout: { entries: GPUBindGroupLayoutEntry[] }; entries: GPUBindGroupEntry[] } | null = null;
  let slot = 0;
  return {
    setPipeline: (next: typeof pipeline) => (pipeline = next),
    setBindGroup(_: number, next: unknown, [offset = 0]: readonly number[]) {
      group = next as typeof group;
      slot = offset;
    },
    dispatchWorkgroups() {
      if (!group) return;
      const [uniform, ...rest] = group.entries.map(({ resource }) => resource as GPUBufferBinding);
      const writable = group.layout.entries.slice(1).map(({ buffer }) => buffer?.type === "storage");
      const { label, constants } = pipeline;
      const run = rules[label] ?? followFrom(label);
      const at = slot;
      commands.push(() => {
        const bound = rest.map(({ buffer, offset = 0, size }, index): BoundBuffer => {
          const bytes = stubOf(buffer).submitted;
          return {
            bytes: bytes.subarray(offset, offset + (size ?? bytes.byteLength - offset)),
            writable: writable[index] ?? false,
          };
        });
        const params = uniform ? stubOf(uniform.buffer).submitted : new Uint8Array(256);
        run(bound, new DataView(params.buffer, at, 256), constants);
      });
    },
    end: () => undefined,
  };
}

/**
 * Kernels that go on from what a binding of theirs holds; in those of others may be what anything left behind. A dispatch of
 * theirs whose first item is not 0 does nothing here: how work is cut follows from time.
 */
const GOING_ON: Readonly<Record<string, { readonly binding: number; readonly firstItem: number }>> = {
  "calibrate.subtract-rows": { binding: 1, firstItem: 5 },
  "gptq.walk-block": { binding: 5, firstItem: 12 },
};

/** So many numbers are drawn, and repeated in what is longer: a prime, so that no two rows of a matrix are equal. */
const FOLLOWING = 1021;

/** Fills what a kernel writes with numbers from 0.25 to 1 that follow from its name and the first words that it reads. */
function followFrom(name: string): Rule {
  const goesOn = GOING_ON[name];
  return (bound, params) => {
    if (goesOn && params.getUint32(goesOn.firstItem * 4, true) > 0) return;
    let seed = hash(2_166_136_261, new TextEncoder().encode(name));
    for (const [at, { bytes, writable }] of bound.entries())
      if (!writable || goesOn?.binding === at) seed = hash(seed, bytes.subarray(0, 16));
    for (const { bytes, writable } of bound) {
      if (!writable) continue;
      const values = new Float32Array(bytes.buffer, bytes.byteOffset, Math.floor(bytes.byteLength / 4));
      let next = seed;
      const own = values.subarray(0, FOLLOWING);
      for (let index = 0; index < own.length; index++) {
        next = (Math.imul(next, 1_664_525) + 1_013_904_223) >>> 0;
        own[index] = 0.25 + (next / 2 ** 32) * 0.75;
      }
      for (let filled = own.length; filled < values.length; filled *= 2) values.copyWithin(filled, 0, filled);
    }
  };
}

/** FNV-1a. */
function hash(seed: number, bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => Math.imul(sum ^ byte, 16_777_619) >>> 0, seed);
}
