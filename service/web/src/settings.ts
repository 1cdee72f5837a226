import { type ColourMapName, isColourMap } from "./pure/colourmaps";

/** What a reader likes; kept in this browser. */
export interface Settings {
  colourMap: ColourMapName;
  opacity: number;
  /** Null follows the operating point of the model. */
  threshold: number | null;
  smooth: boolean;
  /** Off at first: a first look without the model guards against automation bias. */
  overlayAtOpen: boolean;
  outlines: boolean;
  /** Outlines of tissue and of quality problems. */
  tissue: boolean;
  /** The reader decides before the model's answer is shown. */
  blind: boolean;
}

const KEY = "wholeslide.settings";

const DEFAULTS: Settings = {
  colourMap: "viridis",
  opacity: 0.55,
  threshold: null,
  smooth: false,
  overlayAtOpen: false,
  outlines: true,
  tissue: false,
  blind: false,
};

export function parseSettings(text: string | null): Settings {
  let data: unknown = null;
  try {
    data = JSON.parse(text ?? "null");
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const given = (data && typeof data === "object" ? data : {}) as Record<string, unknown>;
  const share = <T>(value: unknown, otherwise: T) =>
    typeof value === "number" && value >= 0 && value <= 1 ? value : otherwise;
  const flag = (value: unknown, otherwise: boolean) =>
    typeof value === "boolean" ? value : otherwise;
  return {
    colourMap: isColourMap(given["colourMap"]) ? given["colourMap"] : DEFAULTS.colourMap,
    opacity: share(given["opacity"], DEFAULTS.opacity),
    threshold: share(given["threshold"], DEFAULTS.threshold),
    smooth: flag(given["smooth"], DEFAULTS.smooth),
    overlayAtOpen: flag(given["overlayAtOpen"], DEFAULTS.overlayAtOpen),
    outlines: flag(given["outlines"], DEFAULTS.outlines),
    tissue: flag(given["tissue"], DEFAULTS.tissue),
    blind: flag(given["blind"], DEFAULTS.blind),
  };
}

/** As `remember`, for this tab alone. */
export function rememberHere(key: string, value: unknown): void {
  try {
    sessionStorage.setItem(key, JSON.stringify(value));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

export function recallHere(key: string): string | null {
  try {
    return sessionStorage.getItem(key);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return null;
  }
}

/** Storage can be full or forbidden (private windows); the page works without. */
export function remember(key: string, value: unknown): void {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

export function forget(key: string): void {
  try {
    localStorage.removeItem(key);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return null;
  }
}

export const loadSettings = (): Settings => parseSettings(recall(KEY));
export const saveSettings = (settings: Settings): void => remember(KEY, settings);
