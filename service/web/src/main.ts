import "./style.css";
import "./ui/controls.css";
import "./frame.css";
import { SIGNED_OUT } from "./api/client";
import type { Place } from "./place";
import { showReport } from "./report/page";
import { fill } from "./ui/dom";
import { dropToastsOfOthers } from "./ui/notice";
import { askKey } from "./ui/signin";
import { showViewer } from "./viewer/open";
import { showWorklist } from "./worklist/page";

/** One page: `#/` is the worklist, `#/slides/ID` a slide, `#/slides/ID/report` its report. */

let place: Place | null = null;

function route(): void {
  place?.leave();
  // A dialog belongs to the place that opened it; the one that asks for a key belongs to all.
  for (const dialog of document.querySelectorAll<HTMLDialogElement>("dialog[open]")) {
    if (!dialog.querySelector(".sign-in")) dialog.close();
  }
  dropToastsOfOthers();
  const root = document.querySelector("#app");
  if (!root) return;
  fill(root);
  const [, slide, report] = /^#\/slides\/([\w-]+)(\/report)?$/.exec(location.hash) ?? [];
  if (!slide) place = showWorklist(root);
  else place = report ? showReport(root, slide) : showViewer(root, slide);
}

window.addEventListener("hashchange", route);
// What is on the page stays: it goes on by itself once the reader has signed in.
window.addEventListener(SIGNED_OUT, () => askKey());
route();
