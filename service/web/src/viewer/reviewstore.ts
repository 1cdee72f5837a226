import {
  ApiError,
  getReview,
  isTransient,
  isUnreachable,
  messageOf,
  pause,
  putReview,
  SIGNED_IN,
} from "../api/client";
import { clashes, clashText, patchText, seenBy, withoutClashes, withSeen } from "../pure/clash";
import {
  applyPatch,
  isEmptyPatch,
  joinPatches,
  parsePatch,
  type Review,
  type ReviewContent,
  type ReviewPatch,
} from "../pure/review";
import { owned, readerName } from "../reader";
import { forget, recall, remember } from "../settings";

export type SaveState = "saved" | "saving" | "offline" | "signed-out" | "refused";

/** Why a change was not saved: what the reader can do depends on it. */
export type Refusal = "conflict" | "signed" | "other";

const POLL_INTERVAL_MS = 4000;
const SAVE_DELAY_MS = 400;
/** Each save is a version that is kept for ever: not one a letter. */
const TYPING_DELAY_MS = 1500;

/**
 * A review that saves itself. Changes are kept in the browser until the service has them, and are
 * laid over whatever somebody else saved meanwhile.
 */
export class ReviewStore {
  onChange: (() => void) | null = null;
  saveState: SaveState = "saved";
  problem = "";
  refusal: Refusal = "other";
  readonly #slideId: string;
  readonly #signal: AbortSignal;
  #saved: Review;
  #patch: ReviewPatch;
  #sending: Promise<void> | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(slideId: string, signal: AbortSignal) {
    this.#slideId = slideId;
    this.#signal = signal;
    this.#saved = emptyReview(slideId);
    this.#patch = parsePatch(recall(this.#key()));
  }

  get saved(): Review {
    return this.#saved;
  }

  /** As the reader sees it: what is saved, and what is not yet. */
  get current(): ReviewContent {
    return applyPatch(this.#saved, this.#patch);
  }

  /** What is not saved yet, in words. */
  get unsaved(): string {
    return patchText(this.#patch);
  }

  /** Read it, then look again and again for what others save. */
  async run(): Promise<void> {
    this.#signal.addEventListener("abort", () => {
      if (this.#timer !== null) void this.#flush();
    });
    window.addEventListener(SIGNED_IN, () => void this.#round(), { signal: this.#signal });
    while (!this.#signal.aborted) {
      await this.#round();
      await pause(POLL_INTERVAL_MS, this.#signal);
    }
  }

  /** Change what is the reader's own word; it names them. */
  change(patch: ReviewPatch, waitMs = SAVE_DELAY_MS): void {
    const reviewer = readerName();
    const named = reviewer === "" || reviewer === this.current.reviewer;
    this.#note(named ? patch : joinPatches(patch, { fields: { reviewer } }), waitMs);
  }

  /** While the reader types: kept at once, sent when they pause. */
  type(patch: ReviewPatch): void {
    this.change(patch, TYPING_DELAY_MS);
  }

  /** The reader has looked at a hotspot. */
  see(key: string): void {
    this.#note({ hotspots: { [key]: { seen: true } } }, TYPING_DELAY_MS);
  }

  /** Save with this change; false where the service refuses it, which leaves nothing behind. */
  async sign(patch: ReviewPatch): Promise<boolean> {
    while (this.#sending) await this.#sending;
    this.#clearTimer();
    const before = this.#patch;
    const seen = { ...seenBy(patch, this.#saved), status: this.#saved.status };
    this.#patch = joinPatches(before, { ...patch, seen });
    // Nothing else is sent meanwhile: the signature would meet itself.
    this.#sending = this.#send();
    await this.#sending;
    this.#sending = null;
    if (isEmptyPatch(this.#patch)) return true;
    this.#keep(before);
    // The signature itself is not kept: the dialog says what was wrong with it.
    if (isEmptyPatch(before) && this.saveState === "refused") this.saveState = "saved";
    this.onChange?.();
    return false;
  }

  /** Send again what was refused; in a conflict, the reader's own word stands. */
  async retry(): Promise<void> {
    if (this.refusal === "conflict") {
      // What came since the notice was read must be named before it is overwritten.
      await this.#catchUp();
      if (this.#nameClashes()) return;
      this.#patch = withSeen(this.#patch, this.#saved);
    }
    this.#set("saving");
    await this.#flush();
  }

  /** Give up what was refused; in a conflict, only what somebody else said otherwise. */
  async discard(): Promise<void> {
    const less = this.refusal === "conflict" ? withoutClashes(this.#patch, this.#saved) : {};
    this.#keep(less);
    this.#set(isEmptyPatch(less) ? "saved" : "saving");
    await this.#flush();
  }

  #key(): string {
    return owned(`wholeslide.unsaved.${this.#slideId}`);
  }

  #set(state: SaveState, problem = ""): void {
    this.saveState = state;
    this.problem = problem;
    this.onChange?.();
  }

  #note(patch: ReviewPatch, waitMs: number): void {
    this.#keep(joinPatches(this.#patch, { ...patch, seen: seenBy(patch, this.#saved) }));
    this.#set("saving");
    this.#schedule(waitMs);
  }

  #schedule(waitMs: number): void {
    this.#clearTimer();
    this.#timer = setTimeout(() => void this.#flush(), waitMs);
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #flush(): Promise<void> {
    this.#clearTimer();
    while (this.#sending) await this.#sending;
    if (isEmptyPatch(this.#patch)) return;
    this.#sending = this.#send();
    await this.#sending;
    this.#sending = null;
    const more = !isEmptyPatch(this.#patch) && this.saveState === "saving";
    if (more && this.#timer === null) this.#schedule(SAVE_DELAY_MS);
  }

  /** Hear what others saved, and send what could not be sent before. */
  async #round(): Promise<void> {
    try {
      await this.#look();
    } catch (error) {
      if (!isTransient(error)) throw error;
      if (isUnreachable(error)) this.#set("offline");
      return;
    }
    const idle = this.#timer === null && this.#sending === null;
    if (idle && this.saveState !== "refused") await this.#flush();
  }

  async #look(): Promise<void> {
    const now = await getReview(this.#slideId, this.#saved.version);
    if (now && now.version > this.#saved.version) {
      this.#saved = now;
      if (this.saveState === "refused" && this.refusal === "conflict") this.#nameClashes();
      this.onChange?.();
    } else if (this.saveState === "offline" && isEmptyPatch(this.#patch)) this.#set("saved");
  }

  async #send(): Promise<void> {
    for (let tries = 1; ; tries++) {
      const sent = this.#patch;
      if (this.#isStopped(sent)) return;
      const review = applyPatch(this.#saved, sent);
      try {
        this.#saved = await putReview(this.#slideId, this.#saved.version, review);
        this.#drop(sent);
        this.#set(isEmptyPatch(this.#patch) ? "saved" : "saving");
        return;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        // Saved (412) or signed (409) meanwhile: the next round sees what is there now.
        const isBehind = tries < 5 && [409, 412].includes(error.status);
        if (!isBehind || !(await this.#catchUp())) {
          this.#fail(error);
          return;
        }
      }
    }
  }

  /** What was made for a draft would, laid over a signed review, amend it unasked. */
  #isClosed({ fields, seen }: ReviewPatch): boolean {
    const wasDraft = fields?.status === undefined || seen?.["status"] === "draft";
    return wasDraft && this.#saved.status === "signed";
  }

  /** Whether somebody else did what the reader has to hear of before this is saved. */
  #isStopped(patch: ReviewPatch): boolean {
    const found = clashes(patch, this.#saved);
    if (this.#isClosed(patch)) {
      const who = this.#saved.reviewer || "Someone else";
      this.#refuse("signed", `${who} signed this review in the meantime.`);
      // That hotspots were looked at is nothing to ask the reader about.
      if (patchText(patch) === "") void this.discard();
    } else if (found.length > 0) this.#refuse("conflict", clashText(found, this.#saved));
    else return false;
    return true;
  }

  /** Whether the notice has to name more, or other things, than it does. */
  #nameClashes(): boolean {
    const found = clashes(this.#patch, this.#saved);
    const text = clashText(found, this.#saved);
    if (found.length === 0 || text === this.problem) return false;
    this.#refuse("conflict", text);
    return true;
  }

  #refuse(refusal: Refusal, text: string): void {
    this.refusal = refusal;
    this.#set("refused", text);
  }

  /** Someone else saved: the changes are laid over theirs. False where theirs cannot be read. */
  async #catchUp(): Promise<boolean> {
    try {
      const now = await getReview(this.#slideId, -1);
      if (now) this.#saved = now;
      return true;
    } catch (error) {
      if (!isTransient(error)) throw error;
      return false;
    }
  }

  #fail(error: ApiError): void {
    if (isUnreachable(error) || error.status === 412) this.#set("offline");
    else if (isTransient(error)) this.#set("signed-out", messageOf(error));
    else this.#refuse("other", messageOf(error));
  }

  #keep(patch: ReviewPatch): void {
    this.#patch = patch;
    if (isEmptyPatch(patch)) forget(this.#key());
    else remember(this.#key(), patch);
  }

  /** Forget what was sent; keep what was changed since. */
  #drop(sent: ReviewPatch): void {
    const rest = <T>(
      now: Readonly<Record<string, T>> = {},
      old: Readonly<Record<string, T>> = {},
    ) => Object.fromEntries(Object.entries(now).filter(([key, value]) => old[key] !== value));
    const left = {
      fields: rest<unknown>(this.#patch.fields, sent.fields),
      hotspots: rest(this.#patch.hotspots, sent.hotspots),
    } as ReviewPatch;
    this.#keep(withSeen(left, this.#saved));
  }
}

function emptyReview(slideId: string): Review {
  return {
    slide_id: slideId,
    version: 0,
    saved_at: null,
    saved_by: "",
    amends: null,
    model_calls: [],
    contradicts: [],
    agreed_beyond: {},
    runs: [],
    status: "draft",
    reviewer: "",
    diagnosis: null,
    comment: "",
    reason: "",
    blind: false,
    hotspots: [],
  };
}
