import { ApiError, isTransient, isUnreachable, messageOf, pause, SIGNED_IN } from "../api/client";
import { owned } from "../reader";
import { deleteAnnotation, listAnnotations, putAnnotation } from "./api";
import { Outbox, type Pending, resolve } from "./outbox";
import { type Annotation, type Content, contentOf, type Mark, sameField } from "./types";
import { type Step, UndoList } from "./undo";

export type SaveState = "saved" | "saving" | "offline" | "signed-out" | "refused";

const POLL_INTERVAL_MS = 2000;
/** Too many requests, or something broke over there: the same may succeed later. */
const isBusy = (error: ApiError): boolean => error.status === 429 || error.status >= 500;
/** Each save is a version that is kept for ever: not one a letter, nor one a key press. */
export const TYPING_DELAY_MS = 1200;

export interface Who {
  /** As the service will call this reader. */
  readonly name: () => string;
  readonly isMe: (author: string) => boolean;
}

/**
 * The annotations of a slide, which save themselves. Changes are kept in the browser until the
 * service has them; what others draw comes within seconds, and nothing of theirs is overwritten.
 */
export class AnnotationStore {
  onChange: (() => void) | null = null;
  onNotice: ((text: string) => void) | null = null;
  state: SaveState = "saving";
  problem = "";
  /** The slide is signed off: changes need a reason. */
  signed = false;
  reason = "";
  /** Whether the service has answered once. */
  loaded = false;
  readonly undoList = new UndoList();
  readonly #slideId: string;
  readonly #signal: AbortSignal;
  readonly #who: Who;
  readonly #outbox: Outbox;
  readonly #saved = new Map<string, Annotation>();
  /** Newest versions, those deleted as well. */
  readonly #versions = new Map<string, number>();
  /** Versions that this page made. */
  readonly #made = new Map<string, number>();
  readonly #refused = new Set<string>();
  #change = 0;
  #round: Promise<void> | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(slideId: string, signal: AbortSignal, who: Who, storage: Storage | null) {
    this.#slideId = slideId;
    this.#signal = signal;
    this.#who = who;
    this.#outbox = new Outbox(owned(slideId), storage);
  }

  get unsent(): number {
    return this.#outbox.size;
  }

  /** How many changes the service refuses. */
  get refused(): number {
    return this.#refused.size;
  }

  get isKept(): boolean {
    return this.#outbox.size === 0 || this.#outbox.kept;
  }

  /** All there is to see, first drawn first. */
  marks(): Mark[] {
    const found = new Map<string, Mark>();
    for (const item of this.#saved.values()) {
      const mine = this.#who.isMe(item.author);
      const { id, author, created_at } = item;
      found.set(id, { ...contentOf(item), id, author, created_at, mine, unsent: false });
    }
    for (const [id, { wish }] of this.#outbox.entries()) {
      const saved = found.get(id);
      if (wish === null) found.delete(id);
      else {
        const { author = this.#who.name(), created_at = "", mine = true } = saved ?? {};
        found.set(id, { ...contentOf(wish), id, author, created_at, mine, unsent: true });
      }
    }
    return [...found.values()];
  }

  content(id: string): Content | null {
    const pending = this.#outbox.get(id);
    if (pending) return pending.wish;
    const saved = this.#saved.get(id);
    return saved ? contentOf(saved) : null;
  }

  /** Draw, change or (null) delete; what is like `join` joins the undo step before. */
  change(id: string, wish: Content | null, options: { wait?: number; join?: string } = {}): void {
    const before = this.content(id);
    if (sameField(before, wish)) return;
    this.undoList.add({ id, before, after: wish }, options.join);
    this.#note(id, wish, options.wait ?? 0);
  }

  /** Take the last step back, or take it again; what it concerned, or null where it cannot be. */
  step(direction: "undo" | "redo"): string | null {
    const step: Step | undefined = this.undoList.take(direction);
    if (!step) return null;
    const untouched = this.#made.get(step.id) === this.#versions.get(step.id);
    if (!this.#outbox.get(step.id) && !untouched) {
      this.onNotice?.(
        "Someone else changed this annotation in the meantime, so it was left as it is.",
      );
      return null;
    }
    this.#note(step.id, direction === "undo" ? step.before : step.after, 0);
    return step.id;
  }

  /** The slide is signed off, and this is why it is changed all the same. */
  amend(reason: string): void {
    this.reason = reason;
    for (const [id, pending] of this.#outbox.entries())
      this.#outbox.set(id, { ...pending, reason });
    this.#refused.clear();
    this.#schedule(0);
    this.onChange?.();
  }

  /** Send what was refused once more. */
  retry(): void {
    this.#refused.clear();
    this.state = "saving";
    this.#schedule(0);
    this.onChange?.();
  }

  /** Forget what the service refuses. */
  discard(): void {
    for (const id of this.#refused) this.#outbox.delete(id);
    this.#refused.clear();
    this.#set(...this.#outcome());
  }

  /** Look again and again for what others do, and send what could not be sent before. */
  async run(): Promise<void> {
    this.#signal.addEventListener("abort", () => {
      if (this.#timer !== null) void this.sync();
    });
    window.addEventListener(SIGNED_IN, () => void this.sync(), { signal: this.#signal });
    window.addEventListener("online", () => void this.sync(), { signal: this.#signal });
    while (!this.#signal.aborted) {
      if (!document.hidden || this.unsent > 0 || !this.loaded) await this.sync();
      await pause(POLL_INTERVAL_MS, this.#signal);
    }
  }

  /** Hear and send, one round at a time. */
  async sync(): Promise<void> {
    while (this.#round) await this.#round;
    this.#round = this.#exchange();
    try {
      await this.#round;
    } finally {
      this.#round = null;
    }
  }

  #set(state: SaveState, problem = ""): void {
    this.state = state;
    this.problem = problem;
    this.onChange?.();
  }

  #note(id: string, wish: Content | null, wait: number): void {
    const pending = this.#outbox.get(id);
    this.#refused.delete(id);
    this.#outbox.set(id, {
      seen: pending?.seen ?? this.#versions.get(id) ?? 0,
      before: pending ? pending.before : this.content(id),
      wish,
      reason: this.reason,
    });
    if (this.state !== "offline" && this.state !== "signed-out") this.state = "saving";
    this.onChange?.();
    this.#schedule(wait);
  }

  #schedule(wait: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.sync();
    }, wait);
  }

  async #exchange(): Promise<void> {
    try {
      await this.#look();
      // While the reader types or moves a corner, the next change is near: not sent yet.
      if (this.#timer === null || this.#signal.aborted) await this.#send();
      this.#set(...this.#outcome());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#fail(error);
    }
  }

  #outcome(): [SaveState, string] {
    if (this.#refused.size > 0) return ["refused", this.problem];
    return [this.unsent > 0 ? "saving" : "saved", ""];
  }

  #fail(error: ApiError): void {
    if (isUnreachable(error)) this.#set("offline");
    else if (isBusy(error)) this.#set("offline", "busy");
    else this.#set(isTransient(error) ? "signed-out" : "refused", messageOf(error));
  }

  async #look(): Promise<void> {
    const { items, change, signed } = await listAnnotations(this.#slideId, this.#change);
    for (const item of items) this.#take(item);
    this.#change = change;
    const news = items.length > 0 || !this.loaded || signed !== this.signed;
    this.loaded = true;
    this.signed = signed;
    if (news) this.onChange?.();
  }

  #take(item: Annotation): void {
    if (item.version < (this.#versions.get(item.id) ?? 0)) return;
    this.#versions.set(item.id, item.version);
    if (item.deleted) this.#saved.delete(item.id);
    else this.#saved.set(item.id, item);
  }

  async #send(): Promise<void> {
    for (const [id] of this.#outbox.entries()) {
      if (!this.#refused.has(id)) await this.#sendOne(id);
    }
  }

  async #sendOne(id: string): Promise<void> {
    for (let tries = 0; tries < 5; tries++) {
      const sent = this.#outbox.get(id);
      if (!sent) return;
      const isUnheard = sent.wish === null && sent.seen === 0 && !this.#versions.has(id);
      if (isUnheard) return this.#outbox.delete(id);
      try {
        const now = await this.#ask(id, sent);
        this.#take(now);
        this.#made.set(id, now.version);
        return this.#settle(id, sent, now);
      } catch (error) {
        if (!(error instanceof ApiError) || isTransient(error) || isBusy(error)) throw error;
        if (error.status !== 412) return this.#refuse(id, error);
        await this.#look();
        if (this.#giveWay(id)) return;
      }
    }
  }

  #ask(id: string, { wish, seen, reason }: Pending): Promise<Annotation> {
    const known = wish === null && seen === 0 ? (this.#versions.get(id) ?? 0) : seen;
    const asked = { seen: known, author: this.#who.name(), reason };
    return wish === null
      ? deleteAnnotation(this.#slideId, id, asked)
      : putAnnotation(this.#slideId, id, wish, asked);
  }

  #refuse(id: string, error: ApiError): void {
    this.#refused.add(id);
    this.problem = messageOf(error);
  }

  /** The service has what was sent; what was changed since is kept. */
  #settle(id: string, sent: Pending, now: Annotation): void {
    const pending = this.#outbox.get(id);
    if (pending && pending !== sent) {
      const before = now.deleted ? null : contentOf(now);
      this.#outbox.set(id, { ...pending, seen: now.version, before });
    } else this.#outbox.delete(id);
    this.onChange?.();
  }

  /** Someone else was faster. True where nothing is left to send under this id. */
  #giveWay(id: string): boolean {
    const pending = this.#outbox.get(id);
    if (!pending) return true;
    const now = this.#saved.get(id) ?? null;
    const who = now?.changed_by || "Someone else";
    const found = resolve(pending, now);
    if (found.kind === "merged") {
      this.#outbox.set(id, found.pending);
      return false;
    }
    this.#outbox.delete(id);
    if (found.kind === "kept") {
      this.onNotice?.(`${who} changed this annotation in the meantime, so it was not deleted.`);
    }
    if (found.kind === "copy") {
      const copy = crypto.randomUUID();
      this.#outbox.set(copy, { ...pending, seen: 0, before: null, wish: found.wish });
      this.onNotice?.(
        now
          ? `${who} changed this annotation in the meantime. Both versions are kept, yours as a new annotation.`
          : "Someone else deleted this annotation in the meantime. Your version is kept as a new one.",
      );
      this.#schedule(0);
    }
    this.onChange?.();
    return true;
  }
}
