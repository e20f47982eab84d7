// A matrix that may be more than one buffer holds: row panels, each in a buffer of its own.

import { invariant } from "../errors.ts";
import type { GpuMemory, LedgerBuffer } from "./memory.ts";

/** Rows of a panel are a multiple of this, so that blocks of a factorisation never straddle panels. */
export const PANEL_MULTIPLE = 128;

export interface Panel {
  readonly firstRow: number;
  readonly rows: number;
  /** Elements from row to row; of a triangle, columns 0 … firstRow + rows − 1 are stored. */
  readonly stride: number;
}

export interface PanelLayout {
  readonly n: number;
  readonly panels: readonly Panel[];
  readonly bytes: number;
}

export interface PanelMatrix<Layout extends PanelLayout> extends Disposable {
  readonly layout: Layout;
  /** One buffer a panel, in order. */
  readonly buffers: readonly LedgerBuffer[];
}

export interface HeldPanel {
  readonly panel: Panel;
  readonly buffer: LedgerBuffer;
}

export function panelBytes({ rows, stride }: Panel): number {
  return rows * stride * 4;
}

/** Allocates the panels, all zero. */
export async function allocatePanels<Layout extends PanelLayout>(
  memory: GpuMemory,
  label: string,
  layout: Layout,
): Promise<PanelMatrix<Layout>> {
  const requests = layout.panels.map((panel, index) => ({
    label: `${label}, panel ${index + 1} of ${layout.panels.length}`,
    bytes: panelBytes(panel),
  }));
  const buffers: readonly LedgerBuffer[] = await memory.allocateAll(requests);
  return {
    layout,
    buffers,
    [Symbol.dispose]() {
      for (const buffer of buffers) buffer[Symbol.dispose]();
    },
  };
}

/** Each panel with its buffer, in order. */
export function heldPanels({ layout, buffers }: PanelMatrix<PanelLayout>): HeldPanel[] {
  return layout.panels.map((panel, index) => {
    const buffer = buffers[index];
    invariant(buffer, "a buffer for each panel");
    return { panel, buffer };
  });
}
