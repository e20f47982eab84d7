import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { useApp } from "../parts/app-context.ts";
import type { App } from "../state/app-state.ts";
import { describeFailure } from "../state/describe-failure.ts";
import { chooseAnother, inspectAddress, inspectFiles } from "../actions/inspect-model.ts";
import { calibrationFileOf, readDrop } from "../actions/read-drop.ts";
import type { SourceReference } from "../../api/source-api.ts";

/** Lets a model be dropped or pasted anywhere on the page, and shows while something is held over it. */
export function DropOverlay() {
  const app = useApp();
  const over = useSignal(false);
  useEffect(() => {
    const listening = new AbortController();
    const listen = { signal: listening.signal };
    // The page's own links and texts may be dragged too; only what comes from outside is a model.
    let fromInside = false;
    document.addEventListener("dragstart", () => (fromInside = true), listen);
    document.addEventListener("dragend", () => (fromInside = false), listen);
    document.addEventListener("dragover", allow, listen);
    document.addEventListener("dragleave", left, listen);
    document.addEventListener("drop", dropped, listen);
    document.addEventListener("paste", (event) => void pasted(app, event), listen);
    return () => listening.abort();

    function allow(event: DragEvent): void {
      if (fromInside) return;
      // Without this the browser would leave the page for the dropped file, in the middle of a job too.
      event.preventDefault();
      over.value = canTake(app);
      if (event.dataTransfer) event.dataTransfer.dropEffect = canTake(app) ? "copy" : "none";
    }
    function left(event: DragEvent): void {
      if (event.relatedTarget === null) over.value = false;
    }
    function dropped(event: DragEvent): void {
      over.value = false;
      if (fromInside) return;
      event.preventDefault();
      if (canTake(app) && event.dataTransfer) void inspectDrop(app, event.dataTransfer);
    }
  }, [app, over]);
  return over.value ? (
    <div class="drop-overlay" aria-hidden="true">
      <p>
        {takesText(app)
          ? "Drop a text to calibrate with, or another model"
          : "Drop a model folder, its files, or a link"}
      </p>
    </div>
  ) : null;
}

function canTake({ state }: App): boolean {
  return !state.running.peek();
}

/** True while the chosen recipe calibrates, and a file may be its text as well as another model. */
function takesText({ state }: App): boolean {
  return state.screen.peek() === "plan" && state.calibrationUse.peek() !== "no";
}

/** Pasted files are inspected like dropped ones; a pasted link fills in the field and waits for a click. */
async function pasted(app: App, event: ClipboardEvent): Promise<void> {
  const intoField = event.target instanceof Element && event.target.closest("input, textarea") !== null;
  if (intoField || !event.clipboardData || app.state.screen.peek() !== "choose" || !canTake(app)) return;
  event.preventDefault();
  const reference = await readTransfer(app, event.clipboardData);
  if (reference?.kind === "files") await inspectFiles(app, reference);
  else if (reference) app.state.address.value = reference.address;
}

async function inspectDrop(app: App, transfer: DataTransfer): Promise<void> {
  const reference = await readTransfer(app, transfer);
  if (!reference) return;
  const text = takesText(app) ? calibrationFileOf(reference) : null;
  if (text) {
    app.state.calibration.file.value = text;
    app.state.calibration.source.value = "file";
    return;
  }
  chooseAnother(app);
  if (reference.kind === "files") {
    await inspectFiles(app, reference);
    return;
  }
  app.state.address.value = reference.address;
  await inspectAddress(app);
}

async function readTransfer(app: App, transfer: DataTransfer): Promise<SourceReference | null> {
  try {
    return await readDrop(transfer);
  } catch (error) {
    app.state.failure.value = { ...describeFailure(error, "inspecting"), retry: null };
    return null;
  }
}
