import "./results.css";
import { type ComponentChildren, render } from "preact";
import { useRef } from "preact/hooks";
import type { Job, SlideResult } from "../api/types";
import { failureWords } from "../pure/failure";
import { kindTitle, percent, pipelineTitle, seconds } from "../pure/format";
import { outcomeWords } from "../pure/outcome";
import { otherResolution } from "../pure/resolution";
import { blindByRule } from "../reader";
import { Icon } from "../ui/icons";
import { newestResults, type ViewerState } from "./state";

/** Each pipeline's answer, or where it stands and what to do about it. */

export interface ResultActions {
  readonly start: (pipeline: string, model: string | null) => void;
  readonly cancel: (job: Job) => void;
  readonly reveal: () => void;
}

interface Props {
  readonly state: ViewerState;
  readonly actions: ResultActions;
}

interface PipelineProps extends Props {
  readonly name: string;
}

export function showResults(host: HTMLElement, state: ViewerState, actions: ResultActions): void {
  render(<Results state={state} actions={actions} />, host);
}

function Results({ state, actions }: Props) {
  if (state.hidden) {
    return (
      <>
        <p class="notice-line">
          Blind first read: the model's answer, and what other readers said, appear once you have
          chosen a diagnosis.
        </p>
        {!blindByRule() && (
          <button type="button" class="button" onClick={actions.reveal}>
            Show it now
          </button>
        )}
      </>
    );
  }
  if (state.pipelines.length === 0) {
    return (
      <p class="quiet">
        No model is installed, so nothing can be scored yet. Train one with <code>wsi train</code>.
      </p>
    );
  }
  return (
    <>
      {state.pipelines.map((name) => (
        <article
          key={name}
          class="result"
          aria-label={`${pipelineTitle(name)} pipeline`}
          data-pipeline={name}
        >
          <h3>{pipelineTitle(name)}</h3>
          <Pipeline name={name} state={state} actions={actions} />
        </article>
      ))}
    </>
  );
}

function Pipeline({ name, state, actions }: PipelineProps) {
  const job = state.jobs.get(name);
  const result = newestResults(state).find(({ pipeline }) => pipeline === name);
  return (
    <>
      {/* A result stands, whatever becomes of a later run; the run is shown below it. */}
      {result && <Scored result={result} state={state} />}
      <Run name={name} job={job} result={result} state={state} actions={actions} />
    </>
  );
}

interface RunProps extends PipelineProps {
  readonly job: Job | undefined;
  readonly result: SlideResult | undefined;
}

/** The newest run, where it is not the result, and what can be done next. */
function Run({ name, job, result, state, actions }: RunProps) {
  const isMissing = state.modelled !== null && !state.modelled.has(name);
  // The same model again: another one might succeed where nobody asked it.
  const again = (label: string, model: string | null = null) => (
    <button
      type="button"
      class="button"
      disabled={isMissing}
      onClick={() => actions.start(name, model)}
    >
      <Icon name="play" size={15} />
      {label}
    </button>
  );
  if (job && (job.status === "QUEUED" || job.status === "RUNNING")) {
    return <Running job={job} actions={actions} isRerun={result !== undefined} />;
  }
  if (job?.status === "FAILED") {
    return (
      <>
        <Failure job={job} isRerun={result !== undefined} />
        {again("Try again", job.model)}
      </>
    );
  }
  if (job?.status === "CANCELLED") {
    return (
      <>
        <p class="quiet rerun">
          {result ? "A re-run was stopped before it finished." : "Stopped before it finished."}
        </p>
        {again("Score again", job.model)}
      </>
    );
  }
  if (result) return <OtherModels name={name} result={result} state={state} actions={actions} />;
  if (job?.status === "SUCCEEDED") return <p class="quiet">Loading the result…</p>;
  if (isMissing) return <p class="quiet">No model for this pipeline is installed.</p>;
  return (
    <>
      <p class="quiet">Not scored yet.</p>
      {again("Score this slide")}
    </>
  );
}

/** Another model of the same pipeline, for comparison. */
function OtherModels({ name, result, state, actions }: PipelineProps & { result: SlideResult }) {
  const select = useRef<HTMLSelectElement>(null);
  const used = new Set([result.model, ...state.finished.map((job) => job.model)]);
  const others = state.models.filter((m) => m.pipeline === name && !used.has(m.name));
  if (others.length === 0) return null;
  return (
    <div class="row other-model">
      <select ref={select} aria-label={`Another model of the ${name} pipeline`}>
        {others.map((model) => (
          <option key={model.name} value={model.name}>
            {model.name}
          </option>
        ))}
      </select>
      <button
        type="button"
        class="button small"
        onClick={() => actions.start(name, select.current?.value ?? null)}
      >
        <Icon name="play" size={13} />
        Score with this model too
      </button>
    </div>
  );
}

/** What a reader can do about a failure; where it broke is for whoever runs the service. */
function Failure({ job, isRerun }: { job: Job; isRerun: boolean }) {
  const { text, details } = failureWords(job.error_kind, job.error);
  return (
    <div class="failure" role="alert">
      <Icon name="alert" size={16} />
      <div>
        <p>{`${isRerun ? "A re-run failed: " : ""}${text}`}</p>
        {details !== "" && (
          <details>
            <summary>Details</summary>
            <p class="mono">{details}</p>
          </details>
        )}
      </div>
    </div>
  );
}

interface RunningProps {
  readonly job: Job;
  readonly actions: ResultActions;
  readonly isRerun: boolean;
}

function Running({ job, actions, isRerun }: RunningProps) {
  const isWaiting = job.status === "QUEUED";
  const share = Math.round(job.progress * 100);
  const where = isWaiting ? "Waiting for a worker" : `${job.stage || "Running"} · ${share} %`;
  const label = `Progress of the ${job.pipeline} pipeline`;
  return (
    <div class="running">
      {/* Without a value, it moves back and forth. */}
      {isWaiting ? (
        <progress key="waiting" max={100} aria-label={label} />
      ) : (
        <progress key="running" max={100} value={share} aria-label={label} />
      )}
      <div class="row">
        <span class="quiet">{(isRerun ? "Re-run: " : "") + where}</span>
        <button
          type="button"
          class="button small"
          disabled={job.cancel_requested}
          onClick={() => actions.cancel(job)}
        >
          <Icon name="stop" size={13} />
          {job.cancel_requested ? "Stopping…" : "Stop"}
        </button>
      </div>
    </div>
  );
}

function Scored({ result, state }: { result: SlideResult; state: ViewerState }) {
  const words = outcomeWords(result.outcome);
  const warnings = result.warnings.filter((text) => text !== words?.sentence);
  const other = otherResolution(result.details?.slide_mpp ?? null, state.slide.mpp);
  const { length: damaged } = result.damaged;
  return (
    <>
      {words ? <Warning isOutcome>{words.sentence}</Warning> : <Bars result={result} />}
      {state.signedRuns?.has(result.job_id) && <p class="quiet">The run that was signed.</p>}
      {warnings.map((warning) => (
        <Warning key={warning}>{warning}</Warning>
      ))}
      {other && <Warning>{other}</Warning>}
      {damaged > 0 && (
        <Warning>
          {damaged === 1
            ? "1 damaged region could not be read and was left out."
            : `${damaged} damaged regions could not be read and were left out.`}
        </Warning>
      )}
      <Provenance result={result} />
    </>
  );
}

function Warning({ children, isOutcome }: { children: ComponentChildren; isOutcome?: boolean }) {
  return (
    <p class={isOutcome ? "warning outcome" : "warning"}>
      <Icon name="alert" size={15} />
      {children}
    </p>
  );
}

function Bars({ result }: { result: SlideResult }) {
  const { malignant, suspicion, probabilities } = result;
  return (
    <dl class="bars">
      {suspicion !== null && malignant.length > 1 && (
        <Bar name="Malignant" value={suspicion} isSuspect />
      )}
      {/* A patch may be background; a slide has no such class and so no such bar. */}
      {Object.entries(probabilities).map(([name, value]) => (
        <Bar key={name} name={name} value={value} isSuspect={malignant.includes(name)} />
      ))}
    </dl>
  );
}

interface BarProps {
  readonly name: string;
  readonly value: number;
  readonly isSuspect: boolean;
}

function Bar({ name, value, isSuspect }: BarProps) {
  return (
    <div class={isSuspect ? "bar suspect" : "bar"}>
      <dt title={name}>{name}</dt>
      <dd>
        <span class="bar-track" aria-hidden="true">
          <span class="bar-fill" style={{ width: `${(value * 100).toFixed(1)}%` }} />
        </span>
        <span class="nowrap">{percent(value)}</span>
      </dd>
    </div>
  );
}

function Provenance({ result }: { result: SlideResult }) {
  const { timings_s, model, model_digest, layers } = result;
  const total = Object.values(timings_s).reduce((sum, s) => sum + s, 0);
  return (
    <details class="provenance">
      <summary>
        <span class="model-name">{model}</span>
        <span class="quiet">{seconds(timings_s["total"] ?? total)}</span>
      </summary>
      <dl class="facts">
        <div>
          <dt>Weights</dt>
          <dd class="mono">{model_digest.slice(0, 12)}</dd>
        </div>
        {Object.entries(timings_s).map(([stage, s]) => (
          <div key={stage}>
            <dt>{stage.replaceAll("_", " ")}</dt>
            <dd>{seconds(s)}</dd>
          </div>
        ))}
        <div>
          <dt>Maps</dt>
          <dd>{layers.map(kindTitle).join(", ") || "none"}</dd>
        </div>
      </dl>
    </details>
  );
}
