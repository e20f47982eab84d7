// How much host memory a browser takes at most. Pages cannot tell: what they may ask leaves out the staging memory that
// they share with the GPU process. Only Linux says it from outside.

import { readdir, readFile, writeFile } from "node:fs/promises";
import type { HostPeaks } from "../../bench/report/result.ts";

export interface HostMemory {
  /** Starts new peaks from what is resident now. */
  reset(): Promise<void>;
  /** Peaks since then, or null where the system does not say. */
  peaks(): Promise<HostPeaks | null>;
}

/** Watches the browser that was started with this profile. */
export function watchHostMemory(profile: string): HostMemory {
  return {
    async reset() {
      for (const { pid } of await browserProcesses(profile)) {
        // 5 resets the peak (proc_pid_clear_refs(5)); a process that has ended needs none.
        await writeFile(`/proc/${pid}/clear_refs`, "5").catch(() => undefined);
      }
    },
    async peaks() {
      const processes = await browserProcesses(profile);
      const largest = (type: string) =>
        Math.max(0, ...processes.filter((each) => each.type === type).map(({ peakBytes }) => peakBytes));
      return processes.length === 0
        ? null
        : { page: largest("renderer"), gpuProcess: largest("gpu-process") };
    },
  };
}

interface BrowserProcess {
  readonly pid: number;
  readonly parent: number;
  /** "renderer", "gpu-process"; empty for the browser itself. */
  readonly type: string;
  readonly command: string;
  readonly peakBytes: number;
}

/** The browser and all that it started. */
async function browserProcesses(profile: string): Promise<BrowserProcess[]> {
  const names = await readdir("/proc").catch(() => []);
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number);
  const all = (await Promise.all(pids.map(readProcess))).filter((each) => each !== null);
  const found = all.filter(
    ({ command, type }) => type === "" && command.includes(`--user-data-dir=${profile}`),
  );
  for (const { pid } of found) found.push(...all.filter(({ parent }) => parent === pid));
  return found;
}

/** Null if the process has ended meanwhile. */
async function readProcess(pid: number): Promise<BrowserProcess | null> {
  try {
    const command = (await readFile(`/proc/${pid}/cmdline`, "utf8")).replaceAll("\0", " ");
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    const field = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(status)?.[1] ?? 0);
    const type = /--type=([\w-]+)/.exec(command)?.[1] ?? "";
    return { pid, parent: field("PPid"), type, command, peakBytes: field("VmHWM") * 1024 };
  } catch {
    return null;
  }
}
