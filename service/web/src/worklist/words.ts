import { type ApiError, isTransient, isUnreachable } from "../api/client";
import type { Slide } from "../api/types";
import { needsPerson } from "../pure/worklist";

/** How many slides are shown, and how many of them need attention. */
export function countText(shown: readonly Slide[], all: readonly Slide[]): string {
  const slides =
    shown.length === all.length
      ? `${all.length} slides`
      : `${shown.length} of ${all.length} slides`;
  const persons = shown.filter(needsPerson).length;
  if (persons === 0) return slides;
  return `${slides} · ${persons} ${persons === 1 ? "needs" : "need"} attention`;
}

/** Why the list may be out of date. */
export function warning(error: ApiError): string {
  if (isUnreachable(error)) {
    return "Can't reach the server. This list may be out of date; trying again.";
  }
  if (isTransient(error)) return "Your session has ended. Sign in to continue.";
  return `Could not load the worklist: ${error.message}`;
}
