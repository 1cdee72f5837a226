import { getMe } from "./api/client";
import type { Me } from "./api/types";
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

/** Whether the service takes reviews from this reader. */
export const mayReview = (): boolean => known?.role !== "viewer";
