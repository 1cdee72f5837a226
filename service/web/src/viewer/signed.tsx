import type { Review } from "../api/types";
import { pipelineTitle } from "../pure/format";
import { neighbours } from "../sequence";
import { Icon } from "../ui/icons";

/** What a signed review says, and where to go from it. */
export function SignedReview({ saved }: { saved: Review }) {
  const when = saved.saved_at ? new Date(saved.saved_at).toLocaleString() : "";
  const differs = saved.contradicts.map(pipelineTitle).join(" and ");
  const agreed = agreedText(saved.agreed_beyond);
  return (
    <div class="signed">
      <p>
        <Icon name="check" size={16} />
        <strong>{saved.diagnosis ?? ""}</strong>
        {` · ${saved.amends === null ? "signed" : "amended"} by ${saved.reviewer}`}
      </p>
      <p class="quiet">{`${when}${saved.blind ? " · blind first read" : ""}`}</p>
      {agreed !== "" && <p>{agreed}</p>}
      {differs !== "" && <p>{`Contradicts ${differs}: ${saved.reason}`}</p>}
      {differs === "" && saved.reason !== "" && <p>{`Reason: ${saved.reason}`}</p>}
      {saved.comment !== "" && <p>{saved.comment}</p>}
      <a href={`#/slides/${saved.slide_id}/report`}>Print report</a>
      <NextLink slideId={saved.slide_id} />
    </div>
  );
}

/** That the reader agreed with more than the diagnosis says; empty where they did not. */
export function agreedText(beyond: Readonly<Record<string, number>>): string {
  const spots = Object.entries(beyond).map(
    ([name, count]) => `${count} ${name} hotspot${count === 1 ? "" : "s"}`,
  );
  return spots.length === 0 ? "" : `Agreed with ${spots.join(" and ")}.`;
}

/** To the next slide of the worklist, or back to it after the last. */
function NextLink({ slideId }: { slideId: string }) {
  const next = neighbours(slideId)?.next;
  return (
    <a class="button primary next-slide" href={next ? `#/slides/${next}` : "#/"}>
      {next ? "Next slide" : "Back to the worklist"}
      <Icon name="next" size={15} />
    </a>
  );
}
