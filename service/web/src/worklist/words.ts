import { type ApiError, isAway, isPassing } from "../api/client";
import type { Slide } from "../api/types";
import { needsPerson } from "../pure/worklist";

/** How many slides are shown, and how many of them need a person. */
export function countText(shown: readonly Slide[], all: readonly Slide[]): string {
  const slides =
    shown.length === all.length
      ? `${all.length} slides`
      : `${shown.length} of ${all.length} slides`;
  const persons = shown.filter(needsPerson).length;
  if (persons === 0) return slides;
  return `${slides} · ${persons} ${persons === 1 ? "needs" : "need"} a person`;
}

/** Why the list may be out of date. */
export function warning(error: ApiError): string {
  if (isAway(error)) {
    return "The service is away. What you see may be old; this page keeps trying.";
  }
  if (isPassing(error)) return "The session has ended. Sign in to go on.";
  return `The worklist could not be read: ${error.message}`;
}
