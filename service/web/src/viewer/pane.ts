import OpenSeadragon from "openseadragon";
import { dziUrl } from "../api/client";
import type { Hotspot, Slide } from "../api/types";
import { coarsePercent } from "../pure/format";
import { valueAt } from "../pure/heatmap";
import { digitalText, digitalZoom } from "../pure/resolution";
import {
  basePower,
  imageZoomFor,
  magnification,
  magnificationText,
  scaleBar,
  zoomAround,
} from "../pure/scale";
import type { Settings } from "../settings";
import { h, reducedMotion, setText } from "../ui/dom";
import { emptyContent, Overlay } from "./overlay";
import { TileFaults } from "./tilefaults";

export interface PointerReading {
  /** Level-0 pixels. */
  readonly x: number;
  readonly y: number;
  readonly value: number | null;
}

/** What the status bar says of the place under the pointer. */
export function readingText(slide: Slide, reading: PointerReading | null): string {
  const inside =
    reading &&
    reading.x >= 0 &&
    reading.y >= 0 &&
    reading.x < slide.width &&
    reading.y < slide.height;
  const text = inside ? `x ${Math.round(reading.x)}, y ${Math.round(reading.y)} px` : "";
  const value = reading && reading.value !== null ? ` · score ${coarsePercent(reading.value)}` : "";
  return text + value;
}

/** One view of the slide: tiles, heatmap, scale bar, magnification, navigator. */
export class SlidePane {
  readonly element: HTMLElement;
  readonly viewer: OpenSeadragon.Viewer;
  readonly content = emptyContent();
  /** Called when this view moved by itself, for a view locked to it. */
  onMove: (() => void) | null = null;
  onPointer: ((reading: PointerReading | null) => void) | null = null;
  onActive: (() => void) | null = null;
  onFailure: ((text: string) => void) | null = null;

  readonly #stop = new AbortController();
  readonly #faults = new TileFaults(this.#stop.signal);
  #slide: Slide;
  readonly #overlays: Overlay[];
  readonly #bar = h("div", { class: "scale-bar-line" });
  readonly #barText = h("span", {}, "");
  readonly #power = h("output", { class: "power", "aria-label": "Magnification" });
  readonly #title = h("div", { class: "pane-title", hidden: true });
  readonly #notice = h("div", { class: "pane-notice", role: "status", hidden: true });
  #base: number | null;

  constructor(stage: Element, slide: Slide, settings: Settings, name: string) {
    this.#slide = slide;
    this.#base = basePower(slide);
    const host = h("div", { class: "osd" });
    this.element = h(
      "section",
      { class: "pane", "aria-label": name },
      host,
      this.#title,
      h("div", { class: "pane-notices" }, this.#notice, this.#faults.element),
      h(
        "div",
        { class: "scale-bar" },
        this.#power,
        h("div", { class: "scale-bar-box" }, this.#barText, this.#bar),
      ),
    );
    // First into the page: OpenSeadragon takes the size that it finds for the home view.
    stage.append(this.element);
    this.viewer = OpenSeadragon(viewerOptions(host, slide, this.#base));
    const canvas = this.viewer.canvas;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "slide viewer");
    canvas.setAttribute("aria-label", `${name}. Arrow keys pan, plus and minus zoom.`);
    this.#overlays = [new Overlay(this.viewer, slide, settings, this.content)];
    this.#faults.watch(this.viewer);
    this.viewer.addOnceHandler("open", () => {
      const navigator = this.viewer.navigator as NavigatorViewer | undefined;
      if (navigator) {
        // With a size of its own it does not notice that it was laid out.
        navigator.updateSize();
        this.#overlays.push(new Overlay(navigator, slide, settings, this.content, true));
        this.#faults.watch(navigator);
        this.redraw();
      }
    });
    this.viewer.addHandler("update-viewport", () => this.#measure());
    this.viewer.addHandler("animation", () => this.onMove?.());
    this.viewer.addHandler("open-failed", (event) =>
      this.onFailure?.(`Could not open the slide's image: ${event.message}`),
    );
    this.element.addEventListener("pointerdown", () => this.onActive?.());
    this.element.addEventListener("focusin", () => this.onActive?.());
    this.element.addEventListener("wheel", () => this.onActive?.(), { passive: true });
    host.addEventListener("pointermove", (event) => this.#point(event));
    host.addEventListener("pointerleave", () => this.onPointer?.(null));
  }

  destroy(): void {
    this.#stop.abort();
    this.viewer.destroy();
    this.element.remove();
  }

  /** The reader gave the slide's resolution. */
  setSlide(slide: Slide): void {
    this.#slide = slide;
    this.#base = basePower(slide);
    this.#measure();
  }

  redraw(): void {
    for (const overlay of this.#overlays) overlay.draw();
  }

  setTitle(text: string | null): void {
    this.#title.hidden = text === null;
    setText(this.#title, text ?? "");
  }

  notify(text: string | null): void {
    this.#notice.hidden = text === null;
    setText(this.#notice, text ?? "");
  }

  /** Screen pixels per level-0 pixel. */
  imageZoom(): number {
    const viewport = this.viewer.viewport;
    return (viewport.getContainerSize().x * viewport.getZoom(true)) / this.#slide.width;
  }

  fit(): void {
    this.viewer.viewport.goHome(reducedMotion());
  }

  zoomBy(factor: number): void {
    this.viewer.viewport.zoomBy(factor, undefined, reducedMotion());
    this.viewer.viewport.applyConstraints();
  }

  panBy(x: number, y: number): void {
    const viewport = this.viewer.viewport;
    const size = viewport.getContainerSize();
    const delta = new OpenSeadragon.Point(x * size.x, y * size.y);
    viewport.panBy(viewport.deltaPointsFromPixels(delta), reducedMotion());
    viewport.applyConstraints();
  }

  rotateBy(degrees: number): void {
    const viewport = this.viewer.viewport;
    viewport.setRotation(Math.round(viewport.getRotation() + degrees), reducedMotion());
  }

  setMagnification(wanted: number): void {
    // Without a resolution no power means anything.
    if (this.#base !== null) this.#zoomToImage(imageZoomFor(wanted, this.#base));
  }

  /** Show a hotspot as a whole, with room around it. */
  showHotspot(spot: Hotspot): void {
    const xs = spot.polygon_level0.map(([x]) => x);
    const ys = spot.polygon_level0.map(([, y]) => y);
    const [left, top] = [Math.min(...xs), Math.min(...ys)];
    const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - top];
    const { viewport } = this.viewer;
    const angle = (viewport.getRotation() * Math.PI) / 180;
    const [cos, sin] = [Math.abs(Math.cos(angle)), Math.abs(Math.sin(angle))];
    const turned = { width: width * cos + height * sin, height: width * sin + height * cos };
    const size = viewport.getContainerSize();
    this.#panTo(left + width / 2, top + height / 2);
    this.#zoomToImage(zoomAround(turned, { width: size.x, height: size.y }, this.#base));
  }

  /** What is seen now, to be seen whole again when the view has another size. */
  keepInSight(): () => void {
    const { viewport } = this.viewer;
    if (!viewport) return () => undefined;
    const atHome = viewport.getZoom() <= viewport.getHomeZoom() * 1.01;
    const bounds = viewport.getBoundsNoRotate(true);
    return () => {
      if (!this.viewer.viewport) return;
      if (atHome) viewport.goHome(true);
      else viewport.fitBounds(bounds, true);
    };
  }

  /** Show what the other view shows. */
  follow(other: SlidePane): void {
    const from = other.viewer.viewport;
    const to = this.viewer.viewport;
    if (!from || !to) return;
    to.setRotation(from.getRotation(true), true);
    to.zoomTo(from.getZoom(true), undefined, true);
    to.panTo(from.getCenter(true), true);
  }

  #panTo(x: number, y: number): void {
    const { width } = this.#slide;
    this.viewer.viewport.panTo(new OpenSeadragon.Point(x / width, y / width), reducedMotion());
  }

  #zoomToImage(imageZoom: number): void {
    const viewport = this.viewer.viewport;
    const zoom = (imageZoom * this.#slide.width) / viewport.getContainerSize().x;
    viewport.zoomTo(Math.min(zoom, viewport.getMaxZoom()), undefined, reducedMotion());
  }

  #measure(): void {
    const zoom = this.imageZoom();
    const mpp = this.#slide.mpp;
    const bar = mpp === null ? null : scaleBar(mpp / zoom);
    this.#bar.hidden = bar === null;
    if (bar) {
      this.#bar.style.width = `${bar.widthPx.toFixed(1)}px`;
      setText(this.#barText, bar.label);
    } else {
      setText(this.#barText, "no scale bar: resolution unknown");
    }
    const digital = digitalZoom(zoom, 1);
    this.#power.classList.toggle("digital", digital !== null);
    const power =
      this.#base === null
        ? `${(zoom * 100).toFixed(zoom < 0.1 ? 1 : 0)} %`
        : magnificationText(magnification(zoom, this.#base));
    setText(this.#power, digital === null ? power : `${power} ${digitalText(digital)}`);
  }

  #point(event: PointerEvent): void {
    if (!this.onPointer || !this.viewer.viewport) return;
    const box = this.element.getBoundingClientRect();
    const pixel = new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top);
    const point = this.viewer.viewport.pointFromPixel(pixel, true).times(this.#slide.width);
    const { divider, left, right, visible } = this.content;
    const layer = divider !== null && pixel.x > divider * box.width ? right : left;
    // A heatmap that is not shown is not read either: the first look is without it.
    const value =
      layer && visible ? valueAt(layer.raw, layer.grid, this.#slide, point.x, point.y) : null;
    this.onPointer({ x: point.x, y: point.y, value });
  }
}

type NavigatorViewer = OpenSeadragon.Viewer & { updateSize(): void };

function viewerOptions(
  element: HTMLElement,
  slide: Slide,
  base: number | null,
): OpenSeadragon.Options {
  return {
    element,
    tileSources: dziUrl(slide.id),
    // One picture at a time: the 2D canvas is as fast as WebGL with a GPU, and much faster without.
    drawer: "canvas",
    showNavigationControl: false,
    showNavigator: true,
    navigatorPosition: "TOP_RIGHT",
    // A fixed size: the default one would not follow when the view is halved.
    navigatorWidth: `${navigatorSize(slide)[0]}px`,
    navigatorHeight: `${navigatorSize(slide)[1]}px`,
    navigatorAutoFade: false,
    navigatorRotate: false,
    // The page has its own keys; OpenSeadragon's would clash with them.
    keyboardNavEnabled: false,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    maxZoomPixelRatio: Math.max(2, 40 / (base ?? 40)),
    minZoomImageRatio: 0.7,
    visibilityRatio: 0.4,
    // Not 0: OpenSeadragon's springs would divide by it.
    animationTime: reducedMotion() ? 0.001 : 0.5,
    springStiffness: 9,
    blendTime: 0,
    imageLoaderLimit: 6,
    maxImageCacheCount: 400,
    tileRetryMax: 2,
    tileRetryDelay: 1000,
    silenceMultiImageWarnings: true,
  };
}

/** Fits the slide's shape into 150 px. */
function navigatorSize(slide: Slide): readonly [number, number] {
  const scale = 150 / Math.max(slide.width, slide.height);
  const side = (length: number) => Math.max(36, Math.round(length * scale));
  return [side(slide.width), side(slide.height)];
}
