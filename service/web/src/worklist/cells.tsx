import type { ComponentChildren } from "preact";
import { thumbnailUrl } from "../api/client";
import type { ResultSummary, Slide } from "../api/types";
import { failureWords } from "../pure/failure";
import { ago, bytes, mppText, percent, pixels } from "../pure/format";
import { outcomeWords } from "../pure/outcome";
import { shareText, troubles } from "../pure/quality";
import { statedText } from "../pure/resolution";
import { slideSuspicion } from "../pure/suspicion";
import { rerunText, slideState } from "../pure/worklist";
import { Icon } from "../ui/icons";

/** What a row of the worklist says of its slide. */

interface Props {
  readonly slide: Slide;
  readonly pipelines: readonly string[];
  readonly isSelected: boolean;
  /** The reader reads blind and has not chosen a diagnosis: no scores, nobody's diagnosis. */
  readonly isHidden: boolean;
  readonly refusal: string | null;
  readonly select: (on: boolean) => void;
  readonly start: () => void;
  readonly giveMpp: () => void;
}

export function RowCells(props: Props) {
  const { slide, pipelines, isHidden } = props;
  return (
    <>
      <Cell name="check">
        <input
          type="checkbox"
          checked={props.isSelected}
          tabIndex={-1}
          aria-label={`Select ${slide.name}`}
          onChange={(event) => props.select(event.currentTarget.checked)}
        />
      </Cell>
      <Cell name="name">
        <img
          src={thumbnailUrl(slide.id, 128)}
          alt=""
          width={72}
          height={52}
          loading="lazy"
          decoding="async"
          onError={(event) => event.currentTarget.classList.add("broken")}
        />
        <NameText slide={slide} giveMpp={props.giveMpp} />
      </Cell>
      <Cell name="suspicion">
        <Suspicion slide={slide} isHidden={isHidden} />
      </Cell>
      {pipelines.map((name) => (
        <Cell key={name} name="score">
          <Score
            result={slide.results.find((result) => result.pipeline === name)}
            isHidden={isHidden}
          />
        </Cell>
      ))}
      <Cell name="quality">
        <QualityText slide={slide} />
      </Cell>
      <Cell name="state">
        <StateText slide={slide} refusal={props.refusal ?? slide.refusal ?? null} />
      </Cell>
      <Cell name="review">
        <ReviewText slide={slide} isHidden={isHidden} />
      </Cell>
      <Cell name="created">{ago(slide.created_at, Date.now())}</Cell>
      <Cell name="act">
        <button
          type="button"
          class="button small"
          tabIndex={-1}
          aria-label={`Score ${slide.name}`}
          onClick={props.start}
        >
          <Icon name="play" size={13} />
          <span class="wide-only">Score</span>
        </button>
      </Cell>
    </>
  );
}

function Cell({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class={`cell ${name}`} role="gridcell">
      {children}
    </div>
  );
}

function NameText({ slide, giveMpp }: Pick<Props, "slide" | "giveMpp">) {
  const facts = `${pixels(slide.width, slide.height)} px · ${bytes(slide.size_bytes)}`;
  const isMissing = slide.mpp === null;
  return (
    <div class="name-text">
      <a href={`#/slides/${slide.id}`} tabIndex={-1}>
        {slide.name}
      </a>
      <span class="quiet" title={`${facts} · ${slide.vendor}`}>
        {/* A resolution can be corrected at any time. */}
        <button
          type="button"
          class={isMissing ? "link warn" : "link"}
          tabIndex={-1}
          title={statedText(slide)}
          onClick={giveMpp}
        >
          {isMissing ? "Enter resolution" : mppText(slide.mpp)}
        </button>
        {` · ${facts}`}
      </span>
    </div>
  );
}

function HiddenText() {
  return (
    <span class="quiet" title="Blind first read: shown once a diagnosis is chosen">
      hidden
    </span>
  );
}

function UnknownText() {
  return (
    <span class="quiet" title="It is not known which of the model's classes are malignant">
      unknown
    </span>
  );
}

function Suspicion({ slide, isHidden }: Pick<Props, "slide" | "isHidden">) {
  const value = slideSuspicion(slide.results);
  const isScored = slide.results.some(({ outcome }) => outcome === "scored");
  if (value === null && !isScored) return "–";
  if (isHidden) return <HiddenText />;
  if (value === null) return <UnknownText />;
  const level = value >= 0.5 ? "high" : value >= 0.2 ? "middle" : "low";
  return (
    <div class={`meter ${level}`}>
      <strong class="nowrap">{percent(value)}</strong>
      <span class="meter-track" aria-hidden="true">
        <span class="meter-fill" style={{ width: `${(value * 100).toFixed(1)}%` }} />
      </span>
    </div>
  );
}

interface ScoreProps {
  readonly result: ResultSummary | undefined;
  readonly isHidden: boolean;
}

function Score({ result, isHidden }: ScoreProps) {
  if (!result) return "–";
  if (result.status === "QUEUED") return <span class="quiet">waiting</span>;
  if (result.status === "RUNNING") {
    const share = Math.round(result.progress * 100);
    return (
      <div class="score-progress">
        <progress max={100} value={share} aria-label={`${result.pipeline} progress`} />
        <span class="quiet">{`${share} %`}</span>
      </div>
    );
  }
  if (result.status === "FAILED") {
    return (
      <span class="failed" title={failureWords(null, result.error).text}>
        failed
      </span>
    );
  }
  if (result.status === "CANCELLED") return <span class="quiet">stopped</span>;
  const words = outcomeWords(result.outcome);
  if (words) return <span class="quiet">{words.title.toLowerCase()}</span>;
  if (result.outcome === null) return "–";
  if (isHidden) return <HiddenText />;
  const { suspicion, malignant } = result;
  if (suspicion === null) return <UnknownText />;
  const name = malignant.length === 1 ? (malignant[0] ?? "") : "malignant";
  return (
    <div class="score-value" title={result.model}>
      <span class="nowrap">{percent(suspicion)}</span>
      <span class="quiet" title={malignant.join(", ")}>
        {rerunText(result.newer_run) ?? name}
      </span>
    </div>
  );
}

function QualityText({ slide: { quality } }: Pick<Props, "slide">) {
  if (!quality) return "–";
  const text = troubles(quality);
  const whole = `${text || "No artefacts"}; usable ${shareText(quality.usable_share)}`;
  if (!quality.flagged) {
    return (
      <span class="quiet detail" title={whole}>
        {text || "good"}
      </span>
    );
  }
  return (
    <div class="state poor" title={whole}>
      <span class="badge">Poor</span>
      {text && <span class="quiet detail">{text}</span>}
    </div>
  );
}

const STATES = {
  unscored: "Not scored",
  running: "In progress",
  scored: "Scored",
  failed: "Failed",
  person: "Needs attention",
} as const;

function StateText({ slide, refusal }: Pick<Props, "slide" | "refusal">) {
  const state = slideState(slide);
  const failed = slide.results.find((result) => result.status === "FAILED");
  const runs = slide.results.flatMap((result) => result.newer_run ?? []);
  const running = [...slide.results, ...runs].find(({ status }) => status === "RUNNING");
  const rerun = runs.map(rerunText).find((text) => text !== null);
  const unscored = slide.results.map((r) => outcomeWords(r.outcome)).find((words) => words);
  // The row says which slide it is; the reason need not say it again.
  const short = (text: string | null | undefined) => text?.replace(`${slide.name}: `, "");
  const reasons = {
    failed: failed && short(failureWords(null, failed.error).text),
    running: running?.stage,
    person: [unscored?.title.toLowerCase(), rerun].filter(Boolean).join(" · "),
    scored: rerun,
    unscored: null,
  };
  const detail = short(refusal) ?? reasons[state];
  return (
    <div class={`state ${refusal ? "failed" : state}`}>
      <span class="badge">{refusal ? "Refused" : STATES[state]}</span>
      {detail && (
        <span class="quiet detail" title={detail}>
          {detail}
        </span>
      )}
    </div>
  );
}

function ReviewText({ slide: { review }, isHidden }: Pick<Props, "slide" | "isHidden">) {
  if (!review) return "–";
  const text = [!isHidden && review.diagnosis, review.reviewer].filter(Boolean).join(" · ");
  return (
    <div class={`state review-${review.status}`}>
      <span class="badge">{review.status === "signed" ? "Signed" : "In review"}</span>
      {text && (
        <span class="quiet detail" title={text}>
          {text}
        </span>
      )}
    </div>
  );
}
