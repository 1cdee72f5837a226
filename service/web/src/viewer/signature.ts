import { pipelineTitle } from "../pure/format";
import { isName, NOT_ASSESSABLE } from "../pure/review";
import { fill, h, setText } from "../ui/dom";
import { icon } from "../ui/icons";

/** The fields of a signature. */
export interface SignatureParts {
  readonly elements: readonly HTMLElement[];
  readonly name: HTMLInputElement;
  readonly reason: HTMLTextAreaElement;
  readonly failure: HTMLElement;
  readonly diagnosis: () => string | null;
  /** Say what differs from the chosen diagnosis; whatever does needs a reason. */
  readonly require: (differs: Differences) => void;
  /** Where the reader has to go on: the first field that is empty, else the button. */
  readonly focusNext: () => void;
}

/** Why a signature needs a reason. */
export interface Differences {
  /** Pipelines that call the slide something else. */
  readonly against: readonly string[];
  /** Hotspots that were agreed with although the diagnosis says less, by class. */
  readonly beyond: Readonly<Record<string, number>>;
  readonly amending: boolean;
}

export interface Signer {
  readonly name: string;
  /** The name is that of the session and cannot be changed here. */
  readonly locked: boolean;
}

export function signatureParts(
  classes: readonly string[],
  chosen: string | null,
  signer: Signer,
  amending: boolean,
): SignatureParts {
  const diagnoses = diagnosisChoice(classes, chosen);
  const name = h("input", {
    type: "text",
    id: "sign-name",
    required: true,
    maxlength: 200,
    autocomplete: "name",
    readonly: signer.locked,
    value: signer.name,
    oninput: () => name.setCustomValidity(nameProblem(name.value)),
    onkeydown: (event: Event) => {
      // A name is typed and gone on from; only the button, or Enter on it, signs.
      const { key, ctrlKey, metaKey } = event as KeyboardEvent;
      if (key !== "Enter" || ctrlKey || metaKey) return;
      event.preventDefault();
      if (name.reportValidity()) focusNext();
    },
  });
  name.setCustomValidity(nameProblem(signer.name));
  const reason = h("textarea", { id: "sign-reason", rows: 3, maxlength: 4000 });
  const reasonLabel = h("label", { for: "sign-reason" }, "");
  const reasonField = h("div", {}, reasonLabel, reason);
  const warning = h("p", { class: "warning", hidden: true });
  const failure = h("p", { class: "failure", role: "alert", hidden: true });
  const button = h("button", { type: "submit", class: "button primary" }, "Sign");
  const focusNext = () => {
    if (diagnoses.value() === null) diagnoses.focus();
    else if (!isName(name.value)) name.focus();
    else if (reason.required && reason.value === "") reason.focus();
    else button.focus();
  };
  return {
    name,
    reason,
    failure,
    diagnosis: diagnoses.value,
    require: (differs) => {
      const words = differenceWords(differs);
      const isUnfit = diagnoses.value() === NOT_ASSESSABLE;
      const needed = words !== "" || differs.amending || isUnfit;
      reason.required = needed;
      reasonField.hidden = !needed;
      setText(reasonLabel, reasonTitle(amending, isUnfit));
      warning.hidden = words === "";
      fill(warning, icon("alert", 15), words);
    },
    focusNext,
    elements: [
      diagnoses.element,
      warning,
      h("div", {}, h("label", { for: "sign-name" }, "Reviewer"), name),
      signer.locked && h("p", { class: "quiet" }, "You sign with the name you are signed in with."),
      reasonField,
      failure,
      h(
        "div",
        { class: "actions end" },
        h("span", { class: "keys" }, h("kbd", {}, "Ctrl Enter"), " signs"),
        button,
      ),
    ].filter((part) => part instanceof HTMLElement),
  };
}

const nameProblem = (name: string): string =>
  name === "" || isName(name) ? "" : "A name has letters. Digits choose the diagnosis above.";

function reasonTitle(amending: boolean, isUnfit: boolean): string {
  if (amending) return "Reason for the amendment";
  return isUnfit ? "Reason why the slide is not assessable" : "Reason";
}

function differenceWords({ against, beyond }: Differences): string {
  const names = against.map((p) => pipelineTitle(p).toLowerCase()).join(" and ");
  const spots = Object.entries(beyond)
    .map(([name, count]) => `${count} ${name} hotspot${count === 1 ? "" : "s"}`)
    .join(" and ");
  return [names && `This contradicts ${names}.`, spots && `You agreed with ${spots}.`]
    .filter(Boolean)
    .join(" ");
}

export interface DiagnosisChoice {
  readonly element: HTMLElement;
  readonly value: () => string | null;
  readonly focus: () => void;
}

/** One diagnosis of several, each with its digit as a key. */
export function diagnosisChoice(
  classes: readonly string[],
  chosen: string | null,
): DiagnosisChoice {
  const radios = classes.map((value) =>
    h("input", {
      type: "radio",
      name: "diagnosis",
      value,
      required: true,
      checked: value === chosen,
    }),
  );
  const element = h(
    "fieldset",
    { class: "diagnoses" },
    h("legend", {}, "Diagnosis"),
    radios.map((radio, at) =>
      h("label", { class: "inline" }, radio, radio.value, h("kbd", {}, String(at + 1))),
    ),
  );
  return {
    element,
    value: () => radios.find((radio) => radio.checked)?.value ?? null,
    focus: () => (radios.find((radio) => radio.checked) ?? radios[0])?.focus(),
  };
}

/** Digits choose a diagnosis wherever no text is typed; Ctrl Enter sends from every field. */
export function signatureKeys(form: HTMLFormElement, chosen: () => void): void {
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
      return;
    }
    const target = event.target as HTMLElement;
    // No name begins with a digit: in a field without one, it is meant for the diagnosis.
    const isFresh = target.matches("input[type=text]") && (target as HTMLInputElement).value === "";
    const isLocked = target.matches("input[readonly]");
    if (target.matches("textarea, input[type=text]") && !isFresh && !isLocked) return;
    const radio =
      form.querySelectorAll<HTMLInputElement>("input[name=diagnosis]")[Number(event.key) - 1];
    if (!radio) return;
    event.preventDefault();
    radio.checked = true;
    radio.dispatchEvent(new Event("change", { bubbles: true }));
    chosen();
  });
}
