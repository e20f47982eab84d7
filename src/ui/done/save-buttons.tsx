import { formatBytes } from "../../formats/text/format-bytes.ts";
import { useApp } from "../parts/app-context.ts";
import { formatPercent } from "../words/format-count.ts";
import { RECEIPT } from "../../formats/files/result-documents.ts";
import { makeReceipt } from "../actions/make-receipt.ts";
import { saveResult } from "../actions/save-result.ts";

/** Three ways to the user's disk; the best that this browser has comes first. */
export function SaveButtons() {
  const app = useApp();
  const { state, services } = app;
  const saving = state.saving.value;
  const hasReceipt = state.result.value?.files.some(({ path }) => path === RECEIPT) ?? true;
  const toFolder = services.download.canSaveFolder;
  return (
    <section class="save" aria-label="Save">
      <div class="buttons">
        {toFolder && (
          <button
            type="button"
            class="primary"
            disabled={saving !== null}
            onClick={() => void saveResult(app, "folder")}
          >
            Save to a folder
          </button>
        )}
        <button
          type="button"
          class={toFolder ? "" : "primary"}
          disabled={saving !== null}
          onClick={() => void saveResult(app, "zip")}
        >
          Save as one zip
        </button>
        <button type="button" disabled={saving !== null} onClick={() => void saveResult(app, "files")}>
          Save as files
        </button>
        {!hasReceipt && (
          <button type="button" disabled={saving !== null} onClick={() => void makeReceipt(app)}>
            Add a receipt
          </button>
        )}
      </div>
      <output class="saved">{state.saved.value}</output>
      {saving && saving.savedBytes > 0 && (
        <div class="saving">
          <progress aria-label={saving.what} max={saving.totalBytes} value={saving.savedBytes} />
          <span>
            {saving.what === "Hashing" && "Hashing: "}
            {formatPercent(saving.savedBytes / saving.totalBytes)} of {formatBytes(saving.totalBytes)}
          </span>
        </div>
      )}
    </section>
  );
}
