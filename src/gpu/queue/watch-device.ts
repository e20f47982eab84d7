// What goes wrong on a GPU is heard of behind the calls that are to blame. What came first is kept: the rest follows from it.

import { DeviceLostError, joinedLines } from "../../errors.ts";

export interface DeviceFailure extends Disposable {
  /** True once something has failed. */
  readonly isThere: boolean;
  /** Keeps what was found otherwise, unless something failed before. */
  keep(failure: Error): void;
  /** Throws what failed first, if anything has. */
  throwIfThere(): void;
}

/** A device's loss, with what the browser says of it. */
export function deviceLoss({ message }: GPUDeviceLostInfo): DeviceLostError {
  const said = message ? ` (${joinedLines(message)})` : "";
  return new DeviceLostError(
    `The GPU was lost${said}: another program, the driver or the system took it away.`,
  );
}

/** Hears of a device's loss and of errors that no scope catches, which are defects: of these until the result is disposed of. */
export function watchDevice(
  device: Pick<GPUDevice, "lost" | "addEventListener" | "removeEventListener">,
): DeviceFailure {
  let first: Error | null = null;
  const keep = (failure: Error) => {
    first ??= failure;
  };
  void device.lost.then((info) => keep(deviceLoss(info)));
  const onError = ({ error }: GPUUncapturedErrorEvent) => keep(new Error(`Defect: ${error.message}`));
  device.addEventListener("uncapturederror", onError);
  return {
    get isThere() {
      return first !== null;
    },
    keep,
    throwIfThere() {
      if (first) throw first;
    },
    [Symbol.dispose]: () => device.removeEventListener("uncapturederror", onError),
  };
}
