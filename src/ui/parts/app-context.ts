import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { invariant } from "../../errors.ts";
import type { App } from "../state/app-state.ts";

export const AppContext = createContext<App | null>(null);

export function useApp(): App {
  const app = useContext(AppContext);
  invariant(app, "a component stands outside of AppContext");
  return app;
}
