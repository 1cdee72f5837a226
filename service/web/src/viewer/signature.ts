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
}

export function signatureParts(
  classes: readonly string[],
  chosen: string | null,
  reviewer: string,
  amending: boolean,
): SignatureParts {
  const radios = classes.map((value) =>
    h("input", {
      type: "radio",
      name: "diagnosis",
      value,
      required: true,
      checked: value === chosen,
    }),
  );
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
  return {
    name,
    reason,
    failure,
    diagnosis: () => radios.find((radio) => radio.checked)?.value ?? null,
    require: (against, amended) => {
      const needed = against.length > 0 || amended;
      reason.required = needed;
      reasonField.hidden = !needed;
      warning.hidden = against.length === 0;
      const names = against.map((p) => pipelineTitle(p).toLowerCase()).join(" and ");
      fill(warning, icon("alert", 15), `This contradicts ${names}.`);
    },
    elements: [
      h(
        "fieldset",
        { class: "diagnoses" },
        h("legend", {}, "Diagnosis"),
        radios.map((radio) => h("label", { class: "inline" }, radio, radio.value)),
      ),
      warning,
      h("div", {}, h("label", { for: "sign-name" }, "Reviewer"), name),
      reasonField,
      failure,
      h(
        "div",
        { class: "actions end" },
        h("button", { type: "submit", class: "button primary" }, "Sign"),
      ),
    ],
  };
}
