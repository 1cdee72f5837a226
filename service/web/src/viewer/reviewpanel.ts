import "./review.css";
import type { SlideResult } from "../api/types";
import { agreedBeyond, contradicted, type Review } from "../pure/review";
import { blindByRule, commit, hasCommitted, identity, readerName, rememberName } from "../reader";
import { openDialog } from "../ui/dialog";
import { fill, h, setText } from "../ui/dom";
import { toast } from "../ui/notice";
import { RefusalNotice, sentence } from "../ui/refusal";
import { showHistory } from "./history";
import type { ReviewStore } from "./reviewstore";
import { diagnosisChoice, signatureKeys, signatureParts } from "./signature";
import { signedParts } from "./signed";

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

/** The reader's decision on the slide: diagnosis, comment, signature, amendment. */
export class ReviewPanel {
  readonly element = h("div", { class: "review" });
  /** What was not saved and why; it stands over the slide, for the panel may be scrolled. */
  readonly notice = new RefusalNotice();
  readonly #options: ReviewPanelOptions;
  readonly #status = h("span", { class: "quiet save-state", role: "status" });
  readonly #name: HTMLInputElement;
  readonly #comment: HTMLTextAreaElement;
  readonly #diagnosis = h("div", {
    class: "segments wrap",
    role: "group",
    "aria-label": "Diagnosis",
  });
  readonly #actions = h("div", { class: "review-actions" });
  readonly #signed = h("div", { class: "signed", hidden: true });
  readonly #form: HTMLElement;
  readonly #commentField: HTMLElement;
  #amending = false;

  constructor(options: ReviewPanelOptions) {
    this.#options = options;
    const { store } = options;
    this.#name = h("input", {
      type: "text",
      id: "reviewer",
      autocomplete: "name",
      maxlength: 200,
      value: readerName(),
      readonly: identity() !== null,
      onchange: () => rememberName(this.#name.value.trim()),
    });
    this.#comment = h("textarea", {
      id: "review-comment",
      rows: 2,
      maxlength: 4000,
      oninput: () => {
        if (!this.#amending) store.type({ fields: { comment: this.#comment.value } });
      },
    });
    const blind = h("input", {
      type: "checkbox",
      checked: options.blind(),
      disabled: blindByRule(),
      onchange: () => options.setBlind(blind.checked),
    });
    this.#commentField = h(
      "div",
      { class: "field" },
      h("label", { for: "review-comment" }, "Comment"),
      this.#comment,
    );
    this.#form = h(
      "div",
      { class: "review-form" },
      h(
        "div",
        { class: "field" },
        h("span", { class: "field-label" }, "Diagnosis"),
        this.#diagnosis,
      ),
      this.#commentField,
      h("div", { class: "field" }, h("label", { for: "reviewer" }, "Reviewer"), this.#name),
    );
    fill(
      this.element,
      this.#signed,
      this.#form,
      h("div", { class: "row" }, this.#actions, this.#status),
      h("label", { class: "inline" }, blind, "Blind first read: hide the model until I decide"),
    );
    this.show();
  }

  show(): void {
    const { store } = this.#options;
    const review = store.current;
    const saved = store.saved;
    const isSigned = saved.status === "signed";
    const states = {
      saved: saved.version > 0 ? "Saved" : "",
      saving: "Saving…",
      away: "Not saved: can't reach the server. Kept on this computer.",
      "signed-out": "Not saved: sign in again. Kept on this computer.",
      refused: "Not saved",
    };
    setText(this.#status, states[store.saveState]);
    this.#showRefusal();
    const hidden = this.#options.isHidden();
    // One comment of all readers: a blind one neither reads nor overwrites it.
    this.#commentField.hidden = hidden;
    this.#form.hidden = isSigned && !this.#amending;
    this.#signed.hidden = !isSigned;
    if (isSigned) this.#showSigned(saved);
    if (document.activeElement !== this.#comment && !this.#amending) {
      this.#comment.value = review.comment;
    }
    const diagnosis = hidden ? null : review.diagnosis;
    this.#showDiagnosis(this.#amending ? this.#amended : diagnosis);
    this.#showActions(isSigned, hidden);
  }

  #amended: string | null = null;

  #choose(name: string): void {
    if (this.#amending) {
      this.#amended = name;
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
      const isAway = store.saveState === "away";
      this.notice.show(
        isAway
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
    this.#amending = true;
    this.#amended = diagnosis;
    this.#comment.value = comment;
    this.show();
    this.element.scrollIntoView({ block: "nearest" });
  }

  #showDiagnosis(chosen: string | null): void {
    const focused = this.#diagnosis.contains(document.activeElement)
      ? document.activeElement?.textContent
      : null;
    const names = this.#classes(chosen);
    fill(
      this.#diagnosis,
      names.map((name) =>
        h(
          "button",
          {
            type: "button",
            "aria-pressed": name === chosen ? "true" : "false",
            onclick: () => this.#choose(name),
          },
          name,
        ),
      ),
    );
    for (const button of this.#diagnosis.querySelectorAll("button")) {
      if (button.textContent === focused) button.focus();
    }
  }

  #showActions(isSigned: boolean, hidden: boolean): void {
    const key = `${isSigned}/${this.#amending}/${hidden}`;
    if (this.#actions.dataset["key"] === key) return;
    this.#actions.dataset["key"] = key;
    const button = (label: string, primary: boolean, act: () => void) =>
      h(
        "button",
        { type: "button", class: primary ? "button primary" : "button", onclick: act },
        label,
      );
    const history = button(
      "History",
      false,
      () => void showHistory(this.#options.store.saved.slide_id),
    );
    if (isSigned && !this.#amending) {
      fill(
        this.#actions,
        button("Amend", false, () => this.#amend()),
        history,
      );
    } else if (this.#amending) {
      fill(
        this.#actions,
        button("Sign amendment", true, () => this.askSign()),
        button("Cancel", false, () => this.#endAmending()),
        history,
      );
    } else
      fill(
        this.#actions,
        button("Sign off", true, () => this.askSign()),
        // What others decided is in it.
        !hidden && history,
      );
  }

  #endAmending(): void {
    this.#amending = false;
    this.show();
  }

  #showSigned(saved: Review): void {
    // Filled once: the link to the next slide may have the focus.
    if (this.#signed.dataset["version"] === String(saved.version)) return;
    this.#signed.dataset["version"] = String(saved.version);
    fill(this.#signed, signedParts(saved));
  }

  /** The signature: diagnosis, name, and the reason where one is due. */
  askSign(): void {
    const { store } = this.#options;
    if (store.saved.status === "signed" && !this.#amending) {
      toast("This review is signed. Amend it to change the diagnosis.");
      return;
    }
    if (this.#options.isHidden()) {
      this.#askFirstRead();
      return;
    }
    const chosen = this.#amending ? this.#amended : store.current.diagnosis;
    const signer = { name: this.#name.value, locked: identity() !== null };
    const parts = signatureParts(this.#classes(chosen), chosen, signer, this.#amending);
    const { results, resultOf } = this.#options;
    const update = () => {
      const diagnosis = parts.diagnosis();
      parts.require({
        against: contradicted(diagnosis, results()),
        beyond: agreedBeyond(diagnosis, store.current.hotspots, resultOf),
        amending: this.#amending,
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
    const dialog = openDialog(this.#amending ? "Sign the amendment" : "Sign off", [form]);
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
    this.#name.value = reviewer.trim();
    rememberName(reviewer.trim());
    const done = await store.sign({
      fields: {
        status: "signed",
        reviewer: reviewer.trim(),
        diagnosis,
        reason: reason.trim(),
        comment: this.#comment.value,
        shown_runs: this.#options.results().map((result) => result.job_id),
        ...(hasCommitted(store.saved.slide_id, store.saved) ? {} : { blind: false }),
      },
    });
    if (done) {
      commit(store.saved.slide_id);
      dialog.close();
      this.#endAmending();
      // One more key opens the next slide.
      this.#signed.querySelector<HTMLElement>(".next-slide")?.focus();
      return;
    }
    failure.hidden = false;
    const why = store.problem || "The signature did not reach the server. Try again.";
    const look = store.refusal === "other" ? "" : " Close this dialog, check again, then sign.";
    setText(failure, why + look);
  }
}
