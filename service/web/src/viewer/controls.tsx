import "./controls.css";
import { type Signal, signal } from "@preact/signals";
import { render } from "preact";
import type { SlideResult } from "../api/types";
import { COLOUR_MAPS, type ColourMapName, cssGradient, isColourMap } from "../pure/colourmaps";
import { ago, coarsePercent, kindTitle, pipelineTitle } from "../pure/format";
import { mapNames, mapTitle } from "../pure/suspicion";
import type { Settings } from "../settings";
import { h } from "../ui/dom";
import { type Segment, Segments } from "../ui/segments";
import { fitChoice, type LayerChoice } from "./choice";
import { newestResults, threshold, type ViewerState } from "./state";
import { TissueLegend } from "./tissuelegend";

/** The heatmap's controls. Colours, threshold and opacity act at once, without a request. */

export interface ControlActions {
  /** A setting of colour, threshold, opacity or outlines changed. */
  readonly repaint: () => void;
  /** The active view shall show this. */
  readonly choose: (choice: LayerChoice | null) => void;
  /** The active view shall show this result. */
  readonly chooseResult: (jobId: string) => void;
  readonly setOverlay: (on: boolean) => void;
  readonly setTissue: (on: boolean) => void;
  readonly setActive: (view: 0 | 1) => void;
}

/** A value of the heatmap, null where it has none, undefined before the pointer was over it. */
type PointerValue = number | null | undefined;

interface Props {
  readonly state: ViewerState;
  readonly actions: ControlActions;
  /** Change a setting and paint again. */
  readonly set: (changes: Partial<Settings>) => void;
}

export class HeatControls {
  readonly element = h("div", { class: "heat-controls" });
  readonly tissueElement = h("div", { class: "tissue-controls" });
  readonly #props: Props;
  readonly #pointer = signal<PointerValue>(undefined);

  constructor(state: ViewerState, actions: ControlActions) {
    const set = (changes: Partial<Settings>) => {
      Object.assign(state.settings, changes);
      this.show();
      actions.repaint();
    };
    this.#props = { state, actions, set };
    this.show();
  }

  show(): void {
    if (!isReadable(this.#props.state)) this.#pointer.value = undefined;
    render(<Heatmap {...this.#props} pointer={this.#pointer} />, this.element);
    render(<Tissue {...this.#props} />, this.tissueElement);
  }

  /** Null where the heatmap has no value under the pointer. */
  showValue(value: number | null): void {
    if (isReadable(this.#props.state)) this.#pointer.value = value;
  }
}

/** Whether there are values to read under the pointer. */
const isReadable = ({ results, overlay }: ViewerState): boolean => results.size > 0 && overlay;

function Heatmap({ state, actions, set, pointer }: Props & { pointer: Signal<PointerValue> }) {
  const { settings } = state;
  const { now, model } = threshold(state);
  return (
    <>
      <div class="row">
        <Switch id="overlay-toggle" isOn={state.overlay} set={actions.setOverlay}>
          Show heatmap
        </Switch>
        <span class="keys">
          <kbd>o</kbd> · hold <kbd>h</kbd> hides
        </span>
      </div>
      <div class="layer-controls">
        {state.results.size > 0 && <Layer state={state} actions={actions} />}
      </div>
      <Legend
        colourMap={settings.colourMap}
        threshold={now}
        operatingPoint={model}
        isScored={state.results.size > 0}
        isShown={state.overlay}
        pointer={pointer}
      />
      <Slider id="threshold" label="Threshold" value={now} set={(to) => set({ threshold: to })} />
      <button
        type="button"
        class="link operating-point"
        // Hotspots start at the model's own threshold, whatever the heatmap is set to.
        hidden={now === model || state.results.size === 0}
        onClick={() => set({ threshold: null })}
      >
        {`Hotspots start at ${model.toFixed(2)}: use this threshold`}
      </button>
      <Slider
        id="opacity"
        label="Opacity"
        value={settings.opacity}
        set={(to) => set({ opacity: to })}
      />
      <div class="row wrap">
        <label class="inline">
          Colours
          <select
            id="colour-map"
            value={settings.colourMap}
            onChange={({ currentTarget: { value } }) => {
              if (isColourMap(value)) set({ colourMap: value });
            }}
          >
            {COLOUR_MAPS.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <Flag label="Smooth" isOn={settings.smooth} set={(on) => set({ smooth: on })} />
        <Flag label="Outlines" isOn={settings.outlines} set={(on) => set({ outlines: on })} />
        <Flag
          label="Show heatmap by default"
          isOn={settings.overlayAtOpen}
          set={(on) => set({ overlayAtOpen: on })}
        />
      </div>
    </>
  );
}

/** The outlines of tissue and of quality problems: a switch, and what their colours mean. */
function Tissue({ state, actions }: Props) {
  return (
    <>
      <div class="row">
        <Switch id="tissue-toggle" isOn={state.settings.tissue} set={actions.setTissue}>
          Show tissue
        </Switch>
        <span class="keys">
          <kbd>q</kbd>
        </span>
      </div>
      <TissueLegend layers={state.tissue} />
    </>
  );
}

/** Which map the active view shows: view, pipeline, model, kind of map, class. */
function Layer({ state, actions }: Omit<Props, "set">) {
  const { results, choices, active, mode } = state;
  const choice = choices[active];
  const result = choice ? results.get(choice.jobId) : undefined;
  const pipelines = newestResults(state).map((r) => ({
    label: pipelineTitle(r.pipeline),
    isOn: choice?.pipeline === r.pipeline,
    choose: () => actions.choose(fitChoice(r, choice)),
  }));
  const bare = { label: "Slide only", isOn: choice === null, choose: () => actions.choose(null) };
  return (
    <>
      {mode !== "single" && (
        <SegmentRow
          label="View"
          options={[
            { label: "Left", isOn: active === 0, choose: () => actions.setActive(0) },
            { label: "Right", isOn: active === 1, choose: () => actions.setActive(1) },
          ]}
        />
      )}
      <SegmentRow label="Pipeline" options={mode === "single" ? pipelines : [...pipelines, bare]} />
      {choice && result && (
        <>
          <ModelSelect state={state} actions={actions} choice={choice} />
          <KindAndClass actions={actions} choice={choice} result={result} />
        </>
      )}
    </>
  );
}

interface ChoiceProps {
  readonly actions: ControlActions;
  readonly choice: LayerChoice;
}

/** Where a pipeline has several results of this slide: by which model, of when. */
function ModelSelect({ state, actions, choice }: ChoiceProps & { state: ViewerState }) {
  const jobs = state.finished.filter((job) => job.pipeline === choice.pipeline);
  if (jobs.length < 2) return null;
  return (
    <div class="segment-row">
      <label class="segment-label" for="result-model">
        Model
      </label>
      <select
        id="result-model"
        value={choice.jobId}
        onChange={(event) => actions.chooseResult(event.currentTarget.value)}
      >
        {jobs.map((job) => (
          <option key={job.id} value={job.id}>
            {`${job.model} · ${ago(job.finished_at ?? job.created_at, Date.now())}`}
          </option>
        ))}
      </select>
    </div>
  );
}

function KindAndClass({ actions, choice, result }: ChoiceProps & { result: SlideResult }) {
  return (
    <>
      <SegmentRow
        label="Map"
        options={result.layers.map((kind) => ({
          label: kindTitle(kind),
          isOn: kind === choice.kind,
          choose: () => actions.choose(fitChoice(result, { ...choice, kind })),
        }))}
      />
      <SegmentRow
        label="Class"
        options={mapNames(result, choice.kind).map((className) => ({
          label: mapTitle(className),
          isOn: className === choice.className,
          choose: () => actions.choose({ ...choice, className }),
        }))}
      />
    </>
  );
}

interface LegendProps {
  readonly colourMap: ColourMapName;
  readonly threshold: number;
  readonly operatingPoint: number;
  readonly isScored: boolean;
  readonly isShown: boolean;
  readonly pointer: Signal<PointerValue>;
}

/**
 * A colour bar with values: what is hidden by the threshold is crossed out. Its properties are
 * plain values: a component that reads a signal renders again only when one of them changes.
 */
function Legend({ pointer, ...props }: LegendProps) {
  const { colourMap, threshold, operatingPoint } = props;
  const value = pointer.value;
  const left = (at: number) => ({ left: `${at * 100}%` });
  return (
    <div class="legend" role="group" aria-label="Heatmap legend">
      <div class="legend-bar" style={{ backgroundImage: cssGradient(colourMap) }}>
        <div class="legend-cut" style={{ width: `${threshold * 100}%` }} />
        <div class="legend-marker" hidden={typeof value !== "number"} style={left(value ?? 0)} />
        <div
          class="legend-point"
          style={left(operatingPoint)}
          title={`Hotspots start at ${operatingPoint.toFixed(2)}`}
        />
      </div>
      <div class="legend-ticks" aria-hidden="true">
        {[0, 0.25, 0.5, 0.75, 1].map((tick) => (
          <span key={tick}>{tick}</span>
        ))}
      </div>
      <span class="legend-value">{valueText(props, value)}</span>
    </div>
  );
}

function valueText(
  { isScored, isShown }: Pick<LegendProps, "isScored" | "isShown">,
  value: PointerValue,
): string {
  if (!isScored) return "The heatmap appears once the slide is scored";
  if (!isShown) return "Show the heatmap to read scores";
  if (value === undefined) return "Hover over the slide to read a value";
  return value === null ? "No value at the pointer" : `At the pointer: ${coarsePercent(value)}`;
}

interface SwitchProps {
  readonly id: string;
  readonly isOn: boolean;
  readonly set: (on: boolean) => void;
  readonly children: string;
}

function Switch({ id, isOn, set, children }: SwitchProps) {
  return (
    <label class="switch" for={id}>
      <input
        type="checkbox"
        role="switch"
        id={id}
        checked={isOn}
        aria-checked={isOn}
        onChange={(event) => set(event.currentTarget.checked)}
      />
      {children}
    </label>
  );
}

interface FlagProps {
  readonly label: string;
  readonly isOn: boolean;
  readonly set: (on: boolean) => void;
}

function Flag({ label, isOn, set }: FlagProps) {
  return (
    <label class="inline">
      <input
        type="checkbox"
        checked={isOn}
        onChange={(event) => set(event.currentTarget.checked)}
      />
      {label}
    </label>
  );
}

interface SliderProps {
  readonly id: string;
  readonly label: string;
  readonly value: number;
  readonly set: (value: number) => void;
}

function Slider({ id, label, value, set }: SliderProps) {
  return (
    <div class="slider-row">
      <label for={id}>{label}</label>
      <input
        type="range"
        id={id}
        min={0}
        max={1}
        step={0.01}
        value={value}
        onInput={(event) => set(Number(event.currentTarget.value))}
      />
      <output for={id}>{value.toFixed(2)}</output>
    </div>
  );
}

/** Letters that fit beside each other. */
const LINE = 32;

function SegmentRow({ label, options }: { label: string; options: readonly Segment[] }) {
  // Class names are told apart by their ends as often as by their beginnings.
  const isLong = options.reduce((sum, { label: text }) => sum + text.length + 2, 0) > LINE;
  return (
    <div class="segment-row">
      <span class="segment-label">{label}</span>
      <Segments label={label} options={options} wrap={isLong} />
    </div>
  );
}
