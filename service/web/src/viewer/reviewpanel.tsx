import "./review.css";
import { createRef, render } from "preact";
import type { SlideResult } from "../api/types";
import { agreedBeyond, contradicted } from "../pure/review";
import { blindByRule, commit, hasCommitted, identity, readerName, rememberName } from "../reader";
import { openDialog } from "../ui/dialog";
import { h, setText } from "../ui/dom";
import { toast } from "../ui/notice";
import { RefusalNotice, sentence } from "../ui/refusal";
import { Segments } from "../ui/segments";
import { showHistory } from "./history";
import type { ReviewStore, SaveState } from "./reviewstore";
import { diagnosisChoice, signatureKeys, signatureParts } from "./signature";
import { SignedReview } from "./signed";

export interface ReviewPanelOptions {
  readonly store: ReviewStore;
  /** The results that are shown: a signature stands on these. */
  readonly results: () => readonly SlideResult[];
  readonly resultOf: (jobId: string) => SlideResult | undefined;
  /** Classes to choose a diagnosis from. */
  readonly classes: () => readonly string[];
  /** Whether the model's answer is hidden now. */
  readonly isHidden: () => boolean;
  readonly setBlind: (on: boolean) => void;
  readonly blind: () => boolean;
}

const NOTHING = { diagnosis: null, comment: "" };

const NOT_SAVED: Readonly<Record<SaveState, string>> = {
  saved: "",
  saving: "Saving…",
  offline: "Not saved: can't reach the server. Kept on this computer.",
  "signed-out": "Not saved: sign in again. Kept on this computer.",
  refused: "Not saved",
};

/** The reader's decision on the slide: diagnosis, comment, signature, amendment. */
export class ReviewPanel {
  readonly element = h("div", { class: "review" });
  /** What was not saved and why; it stands over the slide, for the panel may be scrolled. */
  readonly notice = new RefusalNotice();
  readonly #options: ReviewPanelOptions;
  readonly #comment = createRef<HTMLTextAreaElement>();
  #name = readerName();
  #isAmending = false;
  /** What an amendment says so far. */
  #amended: { readonly diagnosis: string | null; readonly comment: string } = NOTHING;

  constructor(options: ReviewPanelOptions) {
    this.#options = options;
    this.show();
  }

  show(): void {
    this.#showRefusal();
    render(this.#panel(), this.element);
  }

  #panel() {
    const { saved, saveState } = this.#options.store;
    const isSigned = saved.status === "signed";
    const state = saveState === "saved" && saved.version > 0 ? "Saved" : NOT_SAVED[saveState];
    return (
      <>
        {isSigned && <SignedReview saved={saved} />}
        {(!isSigned || this.#isAmending) && this.#form()}
        <div class="row">
          <div class="review-actions">{this.#buttons(isSigned)}</div>
          <span class="quiet save-state" role="status">
            {state}
          </span>
        </div>
        <label class="inline">
          <input
            type="checkbox"
            checked={this.#options.blind()}
            disabled={blindByRule()}
            onChange={(event) => this.#options.setBlind(event.currentTarget.checked)}
          />
          Blind first read: hide the model until I decide
        </label>
      </>
    );
  }

  #form() {
    const hidden = this.#options.isHidden();
    const { store } = this.#options;
    const { diagnosis } = this.#isAmending ? this.#amended : store.current;
    const chosen = hidden && !this.#isAmending ? null : diagnosis;
    return (
      <div class="review-form">
        <div class="field">
          <span class="field-label">Diagnosis</span>
          <Segments
            label="Diagnosis"
            wrap
            options={this.#classes(chosen).map((name) => ({
              label: name,
              isOn: name === chosen,
              choose: () => this.#choose(name),
            }))}
          />
        </div>
        {/* One comment of all readers: a blind one neither reads nor overwrites it. */}
        <div class="field" hidden={hidden}>
          <label for="review-comment">Comment</label>
          <textarea
            id="review-comment"
            ref={this.#comment}
            rows={2}
            maxLength={4000}
            value={this.#commentText()}
            onInput={(event) => this.#typeComment(event.currentTarget.value)}
          />
        </div>
        <div class="field">
          <label for="reviewer">Reviewer</label>
          <input
            type="text"
            id="reviewer"
            autocomplete="name"
            maxLength={200}
            value={this.#name}
            readOnly={identity() !== null}
            onInput={(event) => {
              this.#name = event.currentTarget.value;
            }}
            onChange={() => rememberName(this.#name.trim())}
          />
        </div>
      </div>
    );
  }

  #commentText(): string {
    if (this.#isAmending) return this.#amended.comment;
    const field = this.#comment.current;
    // While the reader types, what others save stays out of the field.
    const isTyping = field !== null && field === document.activeElement;
    return isTyping ? field.value : this.#options.store.current.comment;
  }

  #typeComment(comment: string): void {
    if (this.#isAmending) this.#amended = { ...this.#amended, comment };
    else this.#options.store.type({ fields: { comment } });
  }

  #buttons(isSigned: boolean) {
    const button = (label: string, act: () => void, isPrimary = false) => (
      <button
        key={label}
        type="button"
        class={isPrimary ? "button primary" : "button"}
        onClick={act}
      >
        {label}
      </button>
    );
    const { store, isHidden } = this.#options;
    const history = button("History", () => void showHistory(store.saved.slide_id));
    if (this.#isAmending) {
      return [
        button("Sign amendment", () => this.askSign(), true),
        button("Cancel", () => this.#endAmending()),
        history,
      ];
    }
    if (isSigned) return [button("Amend", () => this.#amend()), history];
    // What others decided is in the history.
    return [button("Sign off", () => this.askSign(), true), !isHidden() && history];
  }

  #choose(name: string): void {
    if (this.#isAmending) {
      this.#amended = { ...this.#amended, diagnosis: name };
      this.show();
      return;
    }
    const { store } = this.#options;
    const blind = this.#options.isHidden();
    const { slide_id, diagnosis, reviewer } = store.saved;
    const isFirst = !hasCommitted(slide_id, store.saved);
    commit(slide_id);
    store.change({ fields: { diagnosis: name, ...(isFirst ? { blind } : {}) } });
    if (blind && diagnosis !== null && diagnosis !== name) {
      const who = reviewer || "Another reader";
      toast(`${who} had chosen ${diagnosis}. The history keeps both.`);
    }
  }

  #showRefusal(): void {
    const { store } = this.#options;
    if (store.saveState !== "refused") {
      const isUnreachable = store.saveState === "offline";
      this.notice.show(
        isUnreachable
          ? "Can't reach the server. Changes are saved on this computer and sent when it is back."
          : null,
      );
      return;
    }
    const retry = () => void store.retry();
    const discard = () => void store.discard();
    const kept = `Not saved: ${store.unsaved}. ${sentence(store.problem)}`;
    if (store.refusal === "conflict") {
      this.notice.show(store.problem, [
        { label: "Keep mine", act: retry },
        { label: "Take theirs", act: discard },
      ]);
    } else if (store.refusal === "signed") {
      this.notice.show(`${kept} It can be added as an amendment, or discarded.`, [
        { label: "Add as amendment", act: () => this.#amend() },
        { label: "Discard", act: discard },
      ]);
    } else {
      this.notice.show(kept, [
        { label: "Try again", act: retry },
        { label: "Discard", act: discard },
      ]);
    }
  }

  #amend(): void {
    const { diagnosis, comment } = this.#options.store.current;
    this.#isAmending = true;
    this.#amended = { diagnosis, comment };
    this.show();
    this.element.scrollIntoView({ block: "nearest" });
  }

  #endAmending(): void {
    this.#isAmending = false;
    this.show();
  }

  /** The signature: diagnosis, name, and the reason where one is due. */
  askSign(): void {
    const { store } = this.#options;
    if (store.saved.status === "signed" && !this.#isAmending) {
      toast("This review is signed. Amend it to change the diagnosis.");
      return;
    }
    if (this.#options.isHidden()) {
      this.#askFirstRead();
      return;
    }
    const chosen = (this.#isAmending ? this.#amended : store.current).diagnosis;
    const signer = { name: this.#name, locked: identity() !== null };
    const parts = signatureParts(this.#classes(chosen), chosen, signer, this.#isAmending);
    const { results, resultOf } = this.#options;
    const update = () => {
      const diagnosis = parts.diagnosis();
      parts.require({
        against: contradicted(diagnosis, results()),
        beyond: agreedBeyond(diagnosis, store.current.hotspots, resultOf),
        amending: this.#isAmending,
      });
    };
    const form = h(
      "form",
      {
        class: "signature",
        onchange: update,
        onsubmit: (event: Event) => {
          event.preventDefault();
          const diagnosis = parts.diagnosis();
          if (diagnosis) {
            void this.#sign(dialog, parts.failure, parts.name.value, diagnosis, parts.reason.value);
          }
        },
      },
      parts.elements,
    );
    update();
    signatureKeys(form, parts.focusNext);
    const dialog = openDialog(this.#isAmending ? "Sign the amendment" : "Sign off", [form]);
    parts.focusNext();
  }

  /** A blind reader says what they see before the model does. */
  #askFirstRead(): void {
    const choice = diagnosisChoice(this.#classes(null), null);
    const button = h(
      "button",
      { type: "submit", class: "button primary" },
      "Confirm and show the model",
    );
    const form = h(
      "form",
      {
        class: "signature",
        onsubmit: (event: Event) => {
          event.preventDefault();
          const diagnosis = choice.value();
          dialog.close();
          if (diagnosis) this.#choose(diagnosis);
        },
      },
      h("p", {}, "What do you see? The model's answer appears after you have chosen."),
      choice.element,
      h("div", { class: "actions end" }, button),
    );
    signatureKeys(form, () => button.focus());
    const dialog = openDialog("Blind first read", [form]);
    choice.focus();
  }

  #classes(chosen: string | null): string[] {
    return [...new Set([...this.#options.classes(), ...(chosen ? [chosen] : [])])];
  }

  async #sign(
    dialog: HTMLDialogElement,
    failure: HTMLElement,
    reviewer: string,
    diagnosis: string,
    reason: string,
  ): Promise<void> {
    const { store } = this.#options;
    this.#name = reviewer.trim();
    rememberName(this.#name);
    const done = await store.sign({
      fields: {
        status: "signed",
        reviewer: this.#name,
        diagnosis,
        reason: reason.trim(),
        comment: this.#comment.current?.value ?? store.current.comment,
        shown_runs: this.#options.results().map((result) => result.job_id),
        ...(hasCommitted(store.saved.slide_id, store.saved) ? {} : { blind: false }),
      },
    });
    if (done) {
      commit(store.saved.slide_id);
      dialog.close();
      this.#endAmending();
      // One more key opens the next slide.
      this.element.querySelector<HTMLElement>(".next-slide")?.focus();
      return;
    }
    failure.hidden = false;
    const why = store.problem || "The signature did not reach the server. Try again.";
    const look = store.refusal === "other" ? "" : " Close this dialog, check again, then sign.";
    setText(failure, why + look);
  }
}
