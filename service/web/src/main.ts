import "./style.css";
import type { Place } from "./place";
import { fill } from "./ui/dom";
import { showViewer } from "./viewer/page";
import { showWorklist } from "./worklist/page";

/** One page, two places: `#/` is the worklist, `#/slides/ID` a slide. */

let place: Place | null = null;

function route(): void {
  place?.leave();
  const root = document.querySelector("#app");
  if (!root) return;
  fill(root);
  const slide = /^#\/slides\/([\w-]+)$/.exec(location.hash)?.[1];
  place = slide ? showViewer(root, slide) : showWorklist(root);
}

window.addEventListener("hashchange", route);
route();
