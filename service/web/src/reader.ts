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

/** Somebody signed in while a page is open. Returns whether it is another reader than before. */
export function greet(me: Me): boolean {
  if (known !== null && known.name !== me.name) return true;
  known = me;
  asked = Promise.resolve(me);
  return false;
}

/** Who the service knows the reader to be; null where names are the reader's own word. */
export const identity = (): string | null =>
  known && known.known_by !== "nothing" ? known.name : null;

/** Whether the reader came with a key, and so can give the session up. */
export const maySignOut = (): boolean => known?.known_by === "key";

/** What is kept in the browser is its reader's: the next one must not send it as their own. */
export const owned = (key: string): string => {
  const name = identity();
  return name === null ? key : `${key}.of.${name}`;
};

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

/** The name that the reader signs with: what their key says, else what they gave last. */
export function readerName(): string {
  const name = identity();
  if (name !== null) return name;
  try {
    const given: unknown = JSON.parse(recall(NAME_KEY) ?? "null");
    if (typeof given === "string" && given !== "") return given;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return "";
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
