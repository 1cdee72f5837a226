import { ApiError, getReview, isAway, messageOf, pause, putReview } from "../api/client";
import {
  applyPatch,
  isEmptyPatch,
  joinPatches,
  parsePatch,
  type Review,
  type ReviewContent,
  type ReviewPatch,
} from "../pure/review";
import { forget, recall, remember } from "../settings";

export type SaveState = "saved" | "saving" | "away" | "refused";

const LOOK_MS = 4000;
const WAIT_MS = 400;

/**
 * A review that saves itself. Changes are kept in the browser until the service has them, and are
 * laid over whatever somebody else saved meanwhile.
 */
export class ReviewStore {
  onChange: (() => void) | null = null;
  saveState: SaveState = "saved";
  problem = "";
  readonly #slideId: string;
  readonly #signal: AbortSignal;
  #saved: Review;
  #patch: ReviewPatch;
  #sending: Promise<void> | null = null;

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

  /** Read it, then look again and again for what others save. */
  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      try {
        await this.#look();
        if (!isEmptyPatch(this.#patch) && this.saveState !== "refused") await this.#send();
      } catch (error) {
        if (!isAway(error)) throw error;
        this.#set("away");
      }
      await pause(LOOK_MS, this.#signal);
    }
  }

  change(patch: ReviewPatch): void {
    this.#patch = joinPatches(this.#patch, patch);
    remember(this.#key(), this.#patch);
    this.#set("saving");
    void this.#soon();
  }

  /** Save with this change; false where the service refuses it, which leaves nothing behind. */
  async sign(patch: ReviewPatch): Promise<boolean> {
    await this.#sending;
    const before = this.#patch;
    this.#patch = joinPatches(before, patch);
    await this.#send();
    if (isEmptyPatch(this.#patch)) return true;
    this.#patch = before;
    remember(this.#key(), before);
    this.onChange?.();
    return false;
  }

  #key(): string {
    return `wholeslide.unsaved.${this.#slideId}`;
  }

  #set(state: SaveState, problem = ""): void {
    this.saveState = state;
    this.problem = problem;
    this.onChange?.();
  }

  async #soon(): Promise<void> {
    if (this.#sending) return;
    this.#sending = pause(WAIT_MS, this.#signal).then(() => this.#send());
    try {
      await this.#sending;
    } finally {
      this.#sending = null;
    }
    if (!isEmptyPatch(this.#patch) && this.saveState === "saving") void this.#soon();
  }

  async #look(): Promise<void> {
    const now = await getReview(this.#slideId, this.#saved.version);
    if (now && now.version > this.#saved.version) {
      this.#saved = now;
      this.onChange?.();
    } else if (this.saveState === "away" && isEmptyPatch(this.#patch)) this.#set("saved");
  }

  async #send(): Promise<void> {
    for (;;) {
      const sent = this.#patch;
      try {
        this.#saved = await putReview(
          this.#slideId,
          this.#saved.version,
          applyPatch(this.#saved, sent),
        );
        this.#drop(sent);
        this.#set(isEmptyPatch(this.#patch) ? "saved" : "saving");
        return;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.status === 412) {
          // Somebody else saved: lay the changes over theirs.
          const now = await getReview(this.#slideId, -1);
          if (now) this.#saved = now;
          continue;
        }
        this.#set(isAway(error) ? "away" : "refused", messageOf(error));
        return;
      }
    }
  }

  /** Forget what was sent; keep what was changed since. */
  #drop(sent: ReviewPatch): void {
    const rest = <T>(
      now: Readonly<Record<string, T>> = {},
      old: Readonly<Record<string, T>> = {},
    ) => Object.fromEntries(Object.entries(now).filter(([key, value]) => old[key] !== value));
    this.#patch = {
      fields: rest<unknown>(this.#patch.fields, sent.fields),
      hotspots: rest(this.#patch.hotspots, sent.hotspots),
    } as ReviewPatch;
    if (isEmptyPatch(this.#patch)) forget(this.#key());
    else remember(this.#key(), this.#patch);
  }
}

function emptyReview(slideId: string): Review {
  return {
    slide_id: slideId,
    version: 0,
    saved_at: null,
    amends: null,
    model_calls: [],
    contradicts: [],
    status: "draft",
    reviewer: "",
    diagnosis: null,
    comment: "",
    reason: "",
    blind: false,
    hotspots: [],
  };
}
