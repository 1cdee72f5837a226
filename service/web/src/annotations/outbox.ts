import { type Annotation, type Content, contentOf, sameField } from "./types";

/** Changes that the service does not have yet, and what becomes of them when others were faster. */

export interface Pending {
  /** The version that the reader saw; 0 for a new annotation. */
  readonly seen: number;
  /** What that version said; null where there was none. */
  readonly before: Content | null;
  /** What the reader wants; null deletes. */
  readonly wish: Content | null;
  /** Why, where the slide is signed. */
  readonly reason: string;
}

export type Resolution =
  /** Their change and the reader's go together. */
  | { readonly kind: "merged"; readonly pending: Pending }
  /** Both changed the same thing: theirs stays, and the reader's becomes an annotation of its own. */
  | { readonly kind: "copy"; readonly wish: Content }
  /** Nothing is left to do. */
  | { readonly kind: "done" }
  /** The reader wanted to delete what somebody changed meanwhile: it stays. */
  | { readonly kind: "kept" };

const FIELDS = ["geometry", "class_name", "comment"] as const;

/** Someone else changed the annotation; `now` is null where they deleted it. */
export function resolve(pending: Pending, now: Annotation | null): Resolution {
  const { wish, before } = pending;
  if (now === null) return wish === null ? { kind: "done" } : { kind: "copy", wish };
  if (wish === null) return { kind: "kept" };
  const theirs = contentOf(now);
  const changed = (content: Content, field: (typeof FIELDS)[number]) =>
    !sameField(content[field], before?.[field]);
  const mine = FIELDS.filter(
    (field) => changed(wish, field) && !sameField(wish[field], now[field]),
  );
  if (mine.length === 0) return { kind: "done" };
  if (mine.some((field) => changed(theirs, field))) return { kind: "copy", wish };
  const ours = Object.fromEntries(mine.map((field) => [field, wish[field]]));
  const merged = { ...theirs, ...ours };
  return {
    kind: "merged",
    pending: { ...pending, seen: now.version, before: theirs, wish: merged },
  };
}

/** Pending changes in the browser's storage, each under a key of its own: tabs do not meet. */
export class Outbox {
  readonly #prefix: string;
  readonly #pending = new Map<string, Pending>();
  /** Whether the browser keeps what is not sent; storage can be full or forbidden. */
  kept = true;

  constructor(
    slideId: string,
    private readonly storage: Storage | null,
  ) {
    this.#prefix = `wholeslide.mark.${slideId}.`;
    for (const [key, text] of Object.entries({ ...storage })) {
      const pending = key.startsWith(this.#prefix) ? parsePending(String(text)) : null;
      if (pending) this.#pending.set(key.slice(this.#prefix.length), pending);
    }
  }

  get size(): number {
    return this.#pending.size;
  }

  get(id: string): Pending | undefined {
    return this.#pending.get(id);
  }

  entries(): [string, Pending][] {
    return [...this.#pending];
  }

  set(id: string, pending: Pending): void {
    this.#pending.set(id, pending);
    this.kept = false;
    try {
      this.storage?.setItem(this.#prefix + id, JSON.stringify(pending));
      this.kept = this.storage !== null;
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
    }
  }

  delete(id: string): void {
    this.#pending.delete(id);
    this.storage?.removeItem(this.#prefix + id);
  }
}

/** As it was kept; whatever makes no sense is dropped. */
export function parsePending(text: string): Pending | null {
  try {
    const data: unknown = JSON.parse(text);
    if (!data || typeof data !== "object") return null;
    const { seen, before, wish, reason } = data as Partial<Pending>;
    const isContent = (value: unknown) =>
      value === null || (typeof value === "object" && "geometry" in (value as object));
    if (typeof seen !== "number" || before === undefined || wish === undefined) return null;
    if (!isContent(before) || !isContent(wish)) return null;
    return { seen, before, wish, reason: typeof reason === "string" ? reason : "" };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return null;
  }
}
