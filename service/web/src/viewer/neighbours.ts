import { neighbours } from "../sequence";
import { toast } from "../ui/notice";

/** Open the slide before or after this one in the worklist. */
export function openNeighbour(slideId: string, step: 1 | -1): void {
  const around = neighbours(slideId);
  const to = step === 1 ? around?.next : around?.previous;
  if (to) location.hash = `#/slides/${to}`;
  else toast(step === 1 ? "This is the last slide of the worklist." : "This is the first slide.");
}
