// Small drawings in the text's colour. They repeat what the words beside them say, and so are hidden from readers.

import type { ComponentChildren } from "preact";

function Drawing({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <rect x="2" y="3" width="20" height="7" rx="1.75" />
      <rect x="2" y="13" width="20" height="4.5" rx="1.5" opacity=".72" />
      <rect x="2" y="20" width="20" height="2.25" rx="1.1" opacity=".45" />
    </svg>
  );
}

export function CheckIcon() {
  return (
    <Drawing>
      <path d="m3 8.5 3.25 3.25L13 5" />
    </Drawing>
  );
}

export function WarningIcon() {
  return (
    <Drawing>
      <path d="M8 2 1.5 13.5h13zM8 6.5v3.25M8 11.6v.4" />
    </Drawing>
  );
}

export function CrossIcon() {
  return (
    <Drawing>
      <circle cx="8" cy="8" r="6.25" />
      <path d="m5.75 5.75 4.5 4.5m0-4.5-4.5 4.5" />
    </Drawing>
  );
}

export function LockIcon() {
  return (
    <Drawing>
      <rect x="3" y="7" width="10" height="7" rx="1.5" />
      <path d="M5.5 7V4.75a2.5 2.5 0 0 1 5 0V7" />
    </Drawing>
  );
}

export function FolderIcon() {
  return (
    <Drawing>
      <path d="M1.75 4.5c0-.7.5-1.25 1.2-1.25h3.1l1.6 1.75h5.4c.7 0 1.2.55 1.2 1.25v5.5c0 .7-.5 1.25-1.2 1.25H2.95c-.7 0-1.2-.55-1.2-1.25z" />
    </Drawing>
  );
}
