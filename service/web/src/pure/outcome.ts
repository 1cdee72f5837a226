/** What became of a slide that a pipeline looked at, in words. Nothing scored is never a success. */

interface Words {
  /** A state, for a badge. */
  readonly title: string;
  readonly sentence: string;
}

const WORDS: Readonly<Record<string, Words>> = {
  no_tissue: {
    title: "No tissue",
    sentence: "No tissue was found on this slide, so nothing was scored.",
  },
  tissue_unclear: {
    title: "Tissue unclear",
    sentence:
      "Something is on this slide, but no tissue was recognized, so nothing was scored. Please look at it.",
  },
};

const isScored = (outcome: string | null): boolean => outcome === "scored" || outcome === null;

/** Null where it was scored. An outcome that this page does not know needs attention as well. */
export function outcomeWords(outcome: string | null): Words | null {
  if (isScored(outcome)) return null;
  const known = WORDS[outcome ?? ""];
  const name = (outcome ?? "").replaceAll("_", " ");
  return (
    known ?? {
      title: name.charAt(0).toUpperCase() + name.slice(1),
      sentence: `This slide was not scored (${name}). Please look at it.`,
    }
  );
}
