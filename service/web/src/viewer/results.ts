import "./results.css";
import type { Job, SlideResult } from "../api/types";
import { failureWords } from "../pure/failure";
import { kindTitle, percent, pipelineTitle, seconds } from "../pure/format";
import { outcomeWords } from "../pure/outcome";
import { otherResolution } from "../pure/resolution";
import { blindByRule } from "../reader";
import { fill, h } from "../ui/dom";
import { icon } from "../ui/icons";
import { newestResults, type ViewerState } from "./state";

/** Each pipeline's answer, or where it stands and what to do about it. */

export interface ResultActions {
  readonly start: (pipeline: string, model: string | null) => void;
  readonly cancel: (job: Job) => void;
  readonly reveal: () => void;
}

export function showResults(host: HTMLElement, state: ViewerState, actions: ResultActions): void {
  if (state.hidden) {
    fill(
      host,
      h(
        "p",
        { class: "notice-line" },
        "Blind first read: the model's answer, and what other readers said, appear once you have chosen a diagnosis.",
      ),
      !blindByRule() && h("button", { class: "button", onclick: actions.reveal }, "Show it now"),
    );
    return;
  }
  if (state.pipelines.length === 0) {
    fill(
      host,
      h(
        "p",
        { class: "quiet" },
        "No model is installed, so nothing can be scored yet. Train one with ",
        h("code", {}, "wsi train"),
        ".",
      ),
    );
    return;
  }
  fill(
    host,
    state.pipelines.map((name) =>
      h(
        "article",
        { class: "result", "aria-label": `${pipelineTitle(name)} pipeline`, "data-pipeline": name },
        h("h3", {}, pipelineTitle(name)),
        body(name, state, actions),
      ),
    ),
  );
}

function body(name: string, state: ViewerState, actions: ResultActions): HTMLElement[] {
  const job = state.jobs.get(name);
  const result = newestResults(state).find(({ pipeline }) => pipeline === name);
  // The same model again: another one might succeed where nobody asked it.
  const again = (label: string, model: string | null = null) =>
    h(
      "button",
      {
        class: "button",
        disabled: state.modelled !== null && !state.modelled.has(name),
        onclick: () => actions.start(name, model),
      },
      icon("play", 15),
      label,
    );
  // A result stands, whatever becomes of a later run; the run is told beside it.
  const shown = result ? scored(result, state) : [];
  if (job && (job.status === "QUEUED" || job.status === "RUNNING")) {
    return [...shown, running(job, actions, result !== undefined)];
  }
  if (job?.status === "FAILED") {
    return [...shown, failure(job, result !== undefined), again("Try again", job.model)];
  }
  if (job?.status === "CANCELLED") {
    const text = result
      ? "A re-run was stopped before it was done."
      : "Stopped before it finished.";
    return [...shown, h("p", { class: "quiet rerun" }, text), again("Score again", job.model)];
  }
  if (result) return [...shown, ...otherModels(name, result, state, actions)];
  if (job?.status === "SUCCEEDED") return [h("p", { class: "quiet" }, "Loading the result…")];
  if (state.modelled !== null && !state.modelled.has(name)) {
    return [h("p", { class: "quiet" }, "No model for this pipeline is installed.")];
  }
  return [h("p", { class: "quiet" }, "Not scored yet."), again("Score this slide")];
}

/** Another model of the same pipeline, to be laid beside this one. */
function otherModels(
  name: string,
  result: SlideResult,
  state: ViewerState,
  actions: ResultActions,
): HTMLElement[] {
  const had = new Set([result.model, ...state.finished.map((job) => job.model)]);
  const others = state.models.filter((m) => m.pipeline === name && !had.has(m.name));
  if (others.length === 0) return [];
  const select = h(
    "select",
    { "aria-label": `Another model of the ${name} pipeline` },
    others.map((model) => h("option", { value: model.name }, model.name)),
  );
  const start = () => actions.start(name, select.value);
  return [
    h(
      "div",
      { class: "row other-model" },
      select,
      h(
        "button",
        { class: "button small", onclick: start },
        icon("play", 13),
        "Score with this model too",
      ),
    ),
  ];
}

/** What a reader can do about a failure; where it broke is for whoever runs the service. */
function failure(job: Job, isRerun: boolean): HTMLElement {
  const { text, details } = failureWords(job.error_kind, job.error);
  return h(
    "div",
    { class: "failure", role: "alert" },
    icon("alert", 16),
    h(
      "div",
      {},
      h("p", {}, `${isRerun ? "A re-run failed: " : ""}${text}`),
      details !== "" &&
        h("details", {}, h("summary", {}, "Details"), h("p", { class: "mono" }, details)),
    ),
  );
}

function running(job: Job, actions: ResultActions, isRerun: boolean): HTMLElement {
  const waiting = job.status === "QUEUED";
  const share = Math.round(job.progress * 100);
  return h(
    "div",
    { class: "running" },
    h("progress", {
      max: 100,
      value: waiting ? null : share,
      "aria-label": `Progress of the ${job.pipeline} pipeline`,
    }),
    h(
      "div",
      { class: "row" },
      h(
        "span",
        { class: "quiet" },
        (isRerun ? "Re-run: " : "") +
          (waiting ? "Waiting for a worker" : `${job.stage || "Running"} · ${share} %`),
      ),
      h(
        "button",
        {
          class: "button small",
          disabled: job.cancel_requested,
          onclick: () => actions.cancel(job),
        },
        icon("stop", 13),
        job.cancel_requested ? "Stopping…" : "Stop",
      ),
    ),
  );
}

function scored(result: SlideResult, state: ViewerState): HTMLElement[] {
  const parts: HTMLElement[] = [];
  const words = outcomeWords(result.outcome);
  if (words) {
    parts.push(h("p", { class: "warning outcome" }, icon("alert", 15), words.sentence));
  } else {
    parts.push(bars(result));
  }
  if (state.signedRuns?.has(result.job_id)) {
    parts.push(h("p", { class: "quiet" }, "The run that was signed."));
  }
  const told = words ? result.warnings.filter((text) => text !== words.sentence) : result.warnings;
  for (const warning of told) {
    parts.push(h("p", { class: "warning" }, icon("alert", 15), warning));
  }
  const other = otherResolution(result.details?.slide_mpp ?? null, state.slide.mpp);
  if (other) parts.push(h("p", { class: "warning" }, icon("alert", 15), other));
  if (result.damaged.length > 0) {
    parts.push(
      h(
        "p",
        { class: "warning" },
        icon("alert", 15),
        `${result.damaged.length} damaged region${result.damaged.length > 1 ? "s" : ""} could not be read and ${result.damaged.length > 1 ? "were" : "was"} left out.`,
      ),
    );
  }
  parts.push(provenance(result));
  return parts;
}

function bars(result: SlideResult): HTMLElement {
  const { malignant, suspicion } = result;
  // A patch may be background; a slide has no such class and so no such bar.
  const rows = Object.entries(result.probabilities).map(([name, value]) =>
    bar(name, value, malignant.includes(name)),
  );
  if (suspicion !== null && malignant.length > 1) {
    rows.unshift(bar("Malignant", suspicion, true));
  }
  return h("dl", { class: "bars" }, rows);
}

function bar(name: string, value: number, isSuspect: boolean): HTMLElement {
  const fillBar = h("span", { class: "bar-fill" });
  fillBar.style.width = `${(value * 100).toFixed(1)}%`;
  return h(
    "div",
    { class: isSuspect ? "bar suspect" : "bar" },
    h("dt", { title: name }, name),
    h(
      "dd",
      {},
      h("span", { class: "bar-track", "aria-hidden": "true" }, fillBar),
      h("span", { class: "nowrap" }, percent(value)),
    ),
  );
}

function provenance(result: SlideResult): HTMLElement {
  const total = Object.values(result.timings_s).reduce((sum, s) => sum + s, 0);
  return h(
    "details",
    { class: "provenance" },
    h(
      "summary",
      {},
      h("span", { class: "model-name" }, result.model),
      h("span", { class: "quiet" }, seconds(result.timings_s["total"] ?? total)),
    ),
    h(
      "dl",
      { class: "facts" },
      h(
        "div",
        {},
        h("dt", {}, "Weights"),
        h("dd", { class: "mono" }, result.model_digest.slice(0, 12)),
      ),
      Object.entries(result.timings_s).map(([stage, s]) =>
        h("div", {}, h("dt", {}, stage.replaceAll("_", " ")), h("dd", {}, seconds(s))),
      ),
      h(
        "div",
        {},
        h("dt", {}, "Maps"),
        h("dd", {}, result.layers.map(kindTitle).join(", ") || "none"),
      ),
    ),
  );
}
