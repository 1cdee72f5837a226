import { getMe } from "./api/client";
import type { Me, ReviewBrief } from "./api/types";
import { loadSettings, recall, remember, saveSettings } from "./settings";

/** Who reads here, and how: asked of the service once, and kept. */

let asked: Promise<Me> | null = null;
let known: Me | null = null;

/** Before anything is shown: a blind reader must not see the model for a moment. */
export async function meetReader(): Promise<Me> {
  asked ??= getMe();
  try {
    known = await asked;
    return known;
  } catch (error) {
    asked = null; // The next place asks again.
    throw error;
  }
}

/** Whether the service itself wants first reads to be blind, whatever the reader prefers. */
export const blindByRule = (): boolean => known?.blind_first_read ?? false;

/** What the reader chose, where the browser keeps nothing. */
let chosen: boolean | null = null;

export const isBlind = (): boolean => blindByRule() || (chosen ?? loadSettings().blind);

export function setBlind(on: boolean): void {
  chosen = on;
  saveSettings({ ...loadSettings(), blind: on });
}

const NAME_KEY = "wholeslide.reviewer";

/** The name that the reader signs with: what they gave last, else what their key says. */
export function readerName(): string {
  const text = recall(NAME_KEY);
  try {
    const name: unknown = JSON.parse(text ?? "null");
    if (typeof name === "string" && name !== "") return name;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return known && known.name !== "local" ? known.name : "";
}

export const rememberName = (name: string): void => remember(NAME_KEY, name);

/** Where the browser keeps nothing. */
const committed = new Set<string>();

const committedKey = (slideId: string): string =>
  `wholeslide.committed.${slideId}.${known?.name ?? ""}`;

/** The reader has chosen a diagnosis of this slide: from now on they may see everything. */
export function commit(slideId: string): void {
  committed.add(committedKey(slideId));
  remember(committedKey(slideId), true);
}

/**
 * Whether the reader has committed: they chose a diagnosis in this browser, or the newest one is
 * theirs. A signed slide is read: it has no first read left to guard.
 */
export function hasCommitted(
  slideId: string,
  review: Pick<ReviewBrief, "status" | "reviewer" | "diagnosis"> | null,
): boolean {
  const key = committedKey(slideId);
  if (review?.status === "signed" || committed.has(key) || recall(key) !== null) return true;
  if (!review || review.diagnosis === null || review.reviewer === "") return false;
  return review.reviewer === readerName();
}

/** Whether what others and the models said of this slide is hidden from the reader. */
export const isHidden: typeof hasCommitted = (slideId, review) =>
  isBlind() && !hasCommitted(slideId, review);

/** Whether the service takes reviews from this reader. */
export const mayReview = (): boolean => known?.role !== "viewer";
