import { messageOf } from "../api/client";
import { openDialog } from "../ui/dialog";
import { h } from "../ui/dom";
import { toast } from "../ui/notice";
import { annotationHistory } from "./api";
import { changeOf } from "./summary";

/** Every version of one annotation, newest first, in a dialog. */
export async function showAnnotationHistory(slideId: string, id: string): Promise<void> {
  try {
    const versions = await annotationHistory(slideId, id);
    openDialog("History of this annotation", [
      h(
        "ol",
        { class: "history", tabindex: "0", "aria-label": "Versions, newest first" },
        versions.map((version, at) =>
          h(
            "li",
            {},
            h("strong", {}, `${version.version}. ${changeOf(version, versions[at + 1])}`),
            h(
              "span",
              { class: "quiet" },
              `${version.changed_by || "unnamed"}, ${new Date(version.changed_at).toLocaleString()}`,
            ),
            version.reason !== "" && h("span", {}, `Reason: ${version.reason}`),
          ),
        ),
      ),
    ]);
  } catch (error) {
    toast(`Could not load the history: ${messageOf(error)}`, "error");
  }
}
