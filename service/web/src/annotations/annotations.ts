import "./annotations.css";
import { isTransient, pause } from "../api/client";
import type { Slide } from "../api/types";
import { identity, meetReader, readerName } from "../reader";
import { recall, remember } from "../settings";
import { h, perFrame, setText } from "../ui/dom";
import { toast } from "../ui/notice";
import { RefusalNotice, sentence } from "../ui/refusal";
import type { SlidePane } from "../viewer/pane";
import { Annotator } from "./annotator";
import { exportUrl, importAnnotations, listClasses } from "./api";
import { askText, openImport } from "./dialogs";
import { showAnnotationHistory } from "./history";
import { listenMarkKeys } from "./keys";
import { MarkLayer } from "./layer";
import { MarkPanel } from "./panel";
import { listenPointer } from "./pointer";
import { AnnotationStore, TYPING_DELAY_MS } from "./store";
import { drawToolbar, showTool } from "./toolbar";
import type { ImportOutcome } from "./types";

const CLASS_KEY = "wholeslide.class";
const NAME_KEY = "wholeslide.anonymous";

/** Annotations of one slide: drawing, list, saving. The viewer hands in its views. */
export class Annotations {
  readonly panel: HTMLElement;
  /** What was not saved and why. */
  readonly notice = new RefusalNotice();
  readonly #toolbar: HTMLElement;
  readonly #slide: Slide;
  readonly #signal: AbortSignal;
  readonly #store: AnnotationStore;
  readonly #annotator: Annotator;
  readonly #panel: MarkPanel;
  readonly #layers = new Map<SlidePane, MarkLayer>();
  readonly #pane: () => SlidePane | undefined;
  /** Read aloud; seen on the slide while a tool is chosen. */
  readonly #announcement = h("p", { class: "draw-hint sr-only", role: "status" });
  readonly #show = perFrame(() => this.#showNow());
  #classes: readonly string[] = ["unclassified"];
  /** What the reader's key says; empty where keys are off. */
  #name = "";

  constructor(slide: Slide, pane: () => SlidePane | undefined, signal: AbortSignal) {
    this.#slide = slide;
    this.#pane = pane;
    this.#signal = signal;
    const who = { name: () => this.#me(), isMe: (author: string) => this.#isMe(author) };
    this.#store = new AnnotationStore(slide.id, signal, who, storage());
    this.#store.onChange = () => this.#annotator.refresh();
    this.#store.onNotice = (text) => toast(text);
    this.#annotator = new Annotator(slide, this.#store, text(recall(CLASS_KEY)) || "cancer", {
      changed: this.#show,
      announce: (text) => setText(this.#announcement, text),
      askReason: () => void this.#amend(),
    });
    this.#panel = this.#makePanel();
    this.#toolbar = drawToolbar(this.#annotator, () => this.#focusSlide());
    this.panel = this.#panel.element;
  }

  /** The tools to draw with, below the viewer's own. */
  tools(others: HTMLElement): HTMLElement {
    return h("div", { class: "toolbars" }, others, this.#toolbar, this.#announcement);
  }

  /** A view was opened: draw in it. */
  attach(pane: SlidePane): void {
    const layer = new MarkLayer(pane.viewer, this.#slide.width, this.#annotator.scene);
    this.#layers.set(pane, layer);
    listenPointer(pane.viewer, this.#annotator, layer, () => pane.onActive?.());
    pane.viewer.addHandler("before-destroy", () => this.#layers.delete(pane));
  }

  /** A blind reader sees only what they drew themselves. */
  setBlind(on: boolean): void {
    this.#annotator.blind = on;
    this.#annotator.refresh();
  }

  setMpp(mpp: number | null): void {
    this.#annotator.setMpp(mpp);
  }

  /** Read, listen, and look again and again. */
  async run(): Promise<void> {
    listenMarkKeys(this.#signal, {
      annotator: this.#annotator,
      layer: () => this.#layer(),
      focusSlide: () => this.#focusSlide(),
      focusClass: () => this.#panel.focusClass(this.#annotator.scene.selected ?? ""),
      focusComment: () => this.#panel.focusComment(this.#annotator.scene.selected ?? ""),
    });
    this.#annotator.refresh();
    void this.#loadClasses();
    void this.#meet();
    await this.#store.run();
  }

  #makePanel(): MarkPanel {
    const annotator = this.#annotator;
    const chosen = (id: string, act: () => void) => {
      if (annotator.scene.selected !== id) annotator.select(id);
      act();
    };
    return new MarkPanel({
      choose: (id) => annotator.select(id, this.#layer()),
      classify: (id, class_name) => chosen(id, () => annotator.change({ class_name })),
      comment: (id, comment) =>
        chosen(id, () => annotator.change({ comment }, { wait: TYPING_DELAY_MS, join: "comment" })),
      remove: (id) =>
        chosen(id, () => {
          annotator.scene.corner = null;
          annotator.remove();
          this.#focusSlide();
        }),
      history: (id) => void showAnnotationHistory(this.#slide.id, id),
      backToSlide: () => this.#focusSlide(),
      setClass: (name) => {
        annotator.className = name;
        remember(CLASS_KEY, name);
        annotator.refresh();
      },
      newClass: () => this.#newClass(),
      undo: () => annotator.undo("undo", this.#layer()),
      redo: () => annotator.undo("redo", this.#layer()),
      importFile: () => this.#import(),
      amend: () => void this.#amend(),
      setVisible: () => annotator.toggle(),
      exportUrl: exportUrl(this.#slide.id),
      slideName: this.#slide.name,
    });
  }

  #layer(): MarkLayer | null {
    const pane = this.#pane();
    return (pane && this.#layers.get(pane)) ?? null;
  }

  #focusSlide(): void {
    const canvas = this.#pane()?.viewer.canvas as HTMLElement | undefined;
    canvas?.focus({ preventScroll: true });
  }

  #showNow(): void {
    const { scene, tool, className, allowed, isLocked } = this.#annotator;
    const { state, problem, unsent, undoList, signed, loaded, isKept } = this.#store;
    for (const [pane, layer] of this.#layers) {
      pane.element.classList.toggle("drawing", tool !== null);
      layer.draw();
    }
    showTool(this.#toolbar, tool);
    this.#announcement.classList.toggle("sr-only", tool === null);
    this.#panel.show({
      marks: scene.marks,
      selected: scene.selected,
      className,
      classes: this.#classes,
      mpp: scene.mpp,
      visible: scene.visible,
      allowed,
      locked: isLocked,
      signed,
      loaded,
      canUndo: undoList.canUndo,
      canRedo: undoList.canRedo,
      save: { state, problem, unsent },
      kept: isKept,
      blind: this.#annotator.blind,
    });
    this.#showRefusal();
  }

  #showRefusal(): void {
    const { state, problem, refused } = this.#store;
    if (state !== "refused") {
      this.notice.show(null);
      return;
    }
    const what = refused === 1 ? "an annotation" : `${refused} annotations`;
    const again = { label: "Try again", act: () => this.#store.retry() };
    this.notice.show(
      refused === 0 ? `Annotations: ${problem}` : `Not saved: ${what}. ${sentence(problem)}`,
      refused === 0 ? [again] : [again, { label: "Discard", act: () => this.#store.discard() }],
    );
  }

  // --- who ------------------------------------------------------------------------------------

  async #meet(): Promise<void> {
    await untilAnswered(this.#signal, async () => {
      const { role } = await meetReader();
      this.#name = identity() ?? "";
      this.#annotator.allowed = role.toLowerCase() !== "viewer";
      this.#annotator.refresh();
    });
  }

  /** As the service will call this reader; a browser without a name gets one that stays. */
  #me(): string {
    if (this.#name !== "") return this.#name;
    const given = readerName();
    if (given !== "") return given;
    const kept = text(recall(NAME_KEY));
    if (kept !== "") return kept;
    const made = `Reader ${crypto.randomUUID().slice(0, 4)}`;
    remember(NAME_KEY, made);
    return made;
  }

  /** Also what was drawn before the reader gave a name. */
  #isMe(author: string): boolean {
    const isUnnamed = this.#name === "" && author === text(recall(NAME_KEY));
    return author === this.#me() || (isUnnamed && author !== "");
  }

  // --- classes --------------------------------------------------------------------------------

  async #loadClasses(): Promise<void> {
    await untilAnswered(this.#signal, async () => {
      this.#classes = await listClasses();
      this.#annotator.refresh();
    });
  }

  async #newClass(): Promise<string | null> {
    const name = await askText("New class", "Name of the class", "");
    if (name !== null) this.#classes = [...new Set([...this.#classes, name])];
    this.#annotator.refresh();
    return name;
  }

  // --- signed slides, files -------------------------------------------------------------------

  async #amend(): Promise<void> {
    const reason = await askText(
      "Amend annotations",
      "Reason",
      "This slide is signed off. Later changes are recorded with this reason.",
    );
    if (reason !== null) this.#store.amend(reason);
  }

  #import(): void {
    if (this.#annotator.isLocked) {
      void this.#amend();
      return;
    }
    openImport(
      (file, wish) =>
        importAnnotations(this.#slide.id, file, {
          ...wish,
          author: this.#me(),
          reason: this.#store.reason,
        }),
      (outcome) => {
        toast(outcomeText(outcome));
        void this.#store.sync();
        void this.#loadClasses();
      },
    );
  }
}

/** Ask again while the service is away, or the reader not signed in. */
async function untilAnswered(signal: AbortSignal, ask: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    try {
      return await ask();
    } catch (error) {
      if (!isTransient(error)) throw error;
      await pause(4000, signal);
    }
  }
}

function outcomeText({ added, already_there, ignored, warnings }: ImportOutcome): string {
  const there = already_there > 0 ? `, ${already_there} already present` : "";
  const not = ignored > 0 ? `, ${ignored} ignored` : "";
  const more = warnings.length > 4 ? [`${warnings.length - 4} more messages.`] : [];
  // What was ignored comes last, and must not be cut off.
  const shown =
    warnings.length > 4 ? [...warnings.slice(0, 3), warnings[warnings.length - 1]] : warnings;
  return [`${added} imported${there}${not}.`, ...shown, ...more].join(" ");
}

/** A value that `remember` kept. */
function text(kept: string | null): string {
  try {
    const value: unknown = JSON.parse(kept ?? "null");
    return typeof value === "string" ? value : "";
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return "";
  }
}

function storage(): Storage | null {
  try {
    return window.localStorage;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return null;
  }
}
