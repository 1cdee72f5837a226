import { pipelineTitle } from "../pure/format";
import { fill, h } from "../ui/dom";
import { icon } from "../ui/icons";

/** The fields of a signature. */
export interface SignatureParts {
  readonly elements: readonly HTMLElement[];
  readonly name: HTMLInputElement;
  readonly reason: HTMLTextAreaElement;
  readonly failure: HTMLElement;
  readonly diagnosis: () => string | null;
  readonly require: (against: readonly string[], amending: boolean) => void;
  /** Where the reader has to go on: the first field that is empty, else the button. */
  readonly focusNext: () => void;
}

export function signatureParts(
  classes: readonly string[],
  chosen: string | null,
  reviewer: string,
  amending: boolean,
): SignatureParts {
  const diagnoses = diagnosisChoice(classes, chosen);
  const name = h("input", {
    type: "text",
    id: "sign-name",
    required: true,
    maxlength: 200,
    value: reviewer,
  });
  const reason = h("textarea", { id: "sign-reason", rows: 3, maxlength: 4000 });
  const reasonLabel = amending ? "Reason for the amendment" : "Reason";
  const reasonField = h("div", {}, h("label", { for: "sign-reason" }, reasonLabel), reason);
  const warning = h("p", { class: "warning", hidden: true });
  const failure = h("p", { class: "failure", role: "alert", hidden: true });
  const button = h("button", { type: "submit", class: "button primary" }, "Sign");
  return {
    name,
    reason,
    failure,
    diagnosis: diagnoses.value,
    require: (against, amended) => {
      const needed = against.length > 0 || amended;
      reason.required = needed;
      reasonField.hidden = !needed;
      warning.hidden = against.length === 0;
      const names = against.map((p) => pipelineTitle(p).toLowerCase()).join(" and ");
      fill(warning, icon("alert", 15), `This contradicts ${names}.`);
    },
    focusNext: () => {
      if (diagnoses.value() === null) diagnoses.focus();
      else if (name.value === "") name.focus();
      else if (reason.required && reason.value === "") reason.focus();
      else button.focus();
    },
    elements: [
      diagnoses.element,
      warning,
      h("div", {}, h("label", { for: "sign-name" }, "Reviewer"), name),
      reasonField,
      failure,
      h(
        "div",
        { class: "actions end" },
        h("span", { class: "keys" }, h("kbd", {}, "Ctrl Enter"), " signs"),
        button,
      ),
    ],
  };
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

/** Digits choose a diagnosis wherever nothing is typed; Ctrl Enter sends from every field. */
export function signatureKeys(form: HTMLFormElement, chosen: () => void): void {
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
      return;
    }
    const target = event.target as HTMLElement;
    if (target.matches("textarea, input[type=text]")) return;
    const radio =
      form.querySelectorAll<HTMLInputElement>("input[name=diagnosis]")[Number(event.key) - 1];
    if (!radio) return;
    event.preventDefault();
    radio.checked = true;
    radio.dispatchEvent(new Event("change", { bubbles: true }));
    chosen();
  });
}
