import { ApiError, setMpp } from "../api/client";
import type { Slide } from "../api/types";
import { statedText, toConfirm, warnings } from "../pure/resolution";
import { openDialog } from "./dialog";
import { fill, h, setText } from "./dom";
import { toast } from "./notice";

const PRESETS: readonly (readonly [number, string])[] = [
  [0.25, "40×"],
  [0.5, "20×"],
  [1, "10×"],
];

interface Entry {
  readonly slide: Slide;
  readonly field: HTMLInputElement;
  readonly insist: HTMLInputElement;
  readonly element: HTMLElement;
}

/** Ask for the resolution of slides in one dialog, and save what is entered; those that changed. */
export async function askResolution(slides: readonly Slide[]): Promise<readonly Slide[]> {
  const wishes = await ask(slides);
  const changed: Slide[] = [];
  for (const { slide, mpp, force } of wishes) {
    try {
      changed.push(await setMpp(slide.id, mpp, force));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, "error");
    }
  }
  return changed;
}

interface Wish {
  readonly slide: Slide;
  /** Null: what the file states. */
  readonly mpp: number | null;
  readonly force: boolean;
}

function ask(slides: readonly Slide[]): Promise<readonly Wish[]> {
  return new Promise((resolve) => {
    let answer: readonly Wish[] = [];
    const entries = slides.map((slide, index) => entry(slide, index, slides.length > 1));
    const preset = ([mpp, power]: readonly [number, string]) =>
      h(
        "button",
        {
          type: "button",
          class: "chip",
          onclick: () => {
            for (const { field } of entries) {
              field.value = String(mpp);
              field.dispatchEvent(new Event("input"));
            }
            entries[0]?.field.focus();
          },
        },
        `${mpp} (${power})`,
      );
    const submit = (event: Event) => {
      const filled = entries.filter(({ field }) => Number(field.value) > 0);
      if (filled.length === 0) event.preventDefault();
      answer = filled.map(({ slide, field, insist }) => ({
        slide,
        mpp: Number(field.value),
        force: insist.checked,
      }));
    };
    const form = h(
      "form",
      { method: "dialog", class: "resolution", onsubmit: submit },
      entries.map(({ element }) => element),
      h("div", { class: "field-row" }, PRESETS.map(preset)),
      h("div", { class: "actions end" }, [
        ...back(slides, (wish) => {
          answer = [wish];
          dialog.close();
        }),
        h("button", { type: "submit", class: "button primary" }, "Save resolution"),
      ]),
    );
    const [first] = slides;
    const what = slides.length === 1 && first ? first.name : `${slides.length} slides`;
    const dialog = openDialog(`Resolution of ${what}`, [form]);
    dialog.addEventListener("close", () => resolve(answer));
  });
}

/** The way back to what the file states. */
function back(slides: readonly Slide[], take: (wish: Wish) => void): HTMLElement[] {
  const [slide] = slides;
  if (!slide || slides.length > 1) return [];
  if (slide.given_mpp === null || slide.stated_mpp === null || slide.mpp_problem !== "") return [];
  const act = () => take({ slide, mpp: null, force: false });
  return [h("button", { type: "button", class: "button", onclick: act }, "Use the file’s own")];
}

/** One slide: what is known, a field, and what its value would mean. */
function entry(slide: Slide, index: number, several: boolean): Entry {
  const id = index === 0 ? "mpp-field" : `mpp-field-${index}`;
  const notes = h("div", { class: "resolution-notes", role: "status" });
  const insist = h("input", { type: "checkbox", required: true });
  const insistText = h("span", {}, "");
  const insisting = h("label", { class: "check", hidden: true }, insist, insistText);
  const results = slide.results.filter(({ status }) => status === "SUCCEEDED").length;
  const field = h("input", {
    type: "number",
    min: "0.001",
    max: "1000",
    step: "any",
    id,
    inputmode: "decimal",
    autofocus: index === 0,
  });
  if (slide.mpp !== null) field.value = String(Number(slide.mpp.toPrecision(6)));
  const look = () => {
    const mpp = Number(field.value);
    const confirm = mpp > 0 ? toConfirm(slide, mpp) : null;
    insisting.hidden = confirm === null;
    // A hidden field that is required would stop the form without a word.
    insist.required = confirm !== null;
    // What was confirmed was another sentence.
    if (confirm !== insistText.textContent) insist.checked = false;
    setText(insistText, confirm ?? "");
    const texts = mpp > 0 ? warnings(slide, mpp, results) : [];
    fill(
      notes,
      texts.map((text) => h("p", { class: "warning" }, text)),
    );
  };
  field.addEventListener("input", look);
  look();
  const element = h(
    "div",
    { class: "resolution-slide" },
    several && h("h3", {}, slide.name),
    h("p", {}, statedText(slide)),
    h("label", { for: id }, "Micrometres per pixel at full resolution"),
    h("div", { class: "field-row" }, field),
    insisting,
    notes,
  );
  return { slide, field, insist, element };
}
