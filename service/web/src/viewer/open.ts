import { getSlide, isUnreachable, pause, SIGNED_IN } from "../api/client";
import type { Place } from "../place";
import { meetReader } from "../reader";
import { leaveWorklist } from "../sequence";
import { fill } from "../ui/dom";
import { stateCard } from "../ui/notice";
import { showLoadError } from "./loaderror";
import { ViewerPage } from "./page";

/** The review of one slide. */
export function showViewer(root: Element, slideId: string): Place {
  const stop = new AbortController();
  let page: ViewerPage | null = null;
  leaveWorklist({ opened: slideId });
  // A slide that could not be opened without a key is opened with it; an open one just goes on.
  const again = () => void (page ?? load());
  window.addEventListener(SIGNED_IN, again, { signal: stop.signal });
  const load = async () => {
    fill(root, stateCard("Opening the slide…", ""));
    try {
      // Who reads comes first: a blind reader must not see the model's answer for a moment.
      const [slide] = await Promise.all([getSlide(slideId), meetReader()]);
      if (stop.signal.aborted) return;
      page = new ViewerPage(root, slide, stop.signal);
      await page.begin();
    } catch (error) {
      if (stop.signal.aborted) return;
      page?.destroy();
      page = null;
      showLoadError(root, error, load);
      if (isUnreachable(error)) {
        await pause(4000, stop.signal);
        if (!stop.signal.aborted) void load();
      }
    }
  };
  void load();
  return {
    leave: () => {
      stop.abort();
      page?.destroy();
      document.title = "wholeslide";
    },
  };
}
