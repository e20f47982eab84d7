import { useEffect, useRef } from "preact/hooks";
import { useApp } from "../parts/app-context.ts";
import { FolderIcon } from "../parts/icons.tsx";
import { inspectFiles } from "../actions/inspect-model.ts";
import { filesReference } from "../actions/read-drop.ts";

/** Where files are dropped, or chosen with the browser's own dialogs; dropping works anywhere else on the page too. */
export function DropZone() {
  const app = useApp();
  const folder = useRef<HTMLInputElement>(null);
  const files = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (folder.current) folder.current.webkitdirectory = true;
  }, []);
  const chosen = (event: { currentTarget: HTMLInputElement }) => {
    const list = [...(event.currentTarget.files ?? [])];
    event.currentTarget.value = "";
    if (list.length > 0) void inspectFiles(app, filesReference(list));
  };
  return (
    <div class="drop-zone">
      <FolderIcon />
      <p>
        Or drop a model folder anywhere here.
        <span class="quiet"> Files are read where they are, not copied.</span>
      </p>
      <div class="buttons">
        <button type="button" onClick={() => folder.current?.click()}>
          Choose a folder
        </button>
        <button type="button" onClick={() => files.current?.click()}>
          Choose files
        </button>
      </div>
      <input ref={folder} type="file" hidden aria-label="Model folder" onChange={chosen} />
      <input ref={files} type="file" multiple hidden aria-label="Model files" onChange={chosen} />
    </div>
  );
}
