import { type Review, type ReviewContent, type ReviewPatch, recordOf } from "./review";

/** Where two readers changed the same thing of a review: found before either is overwritten. */

export interface Clash {
  /** The part of the review, as in a patch's `seen`. */
  readonly part: string;
  readonly theirs: string | null;
  readonly mine: string | null;
}

const FIELDS = ["diagnosis", "comment"] as const;
const MARKS = ["decision", "comment"] as const;

/** The parts of a review that a patch changes and that two may disagree on, with both values. */
function parts(patch: ReviewPatch, review: ReviewContent): Clash[] {
  const found: Clash[] = [];
  for (const name of FIELDS) {
    const mine = patch.fields?.[name];
    if (mine !== undefined) found.push({ part: name, theirs: review[name], mine });
  }
  for (const [key, mark] of Object.entries(patch.hotspots ?? {})) {
    const cut = key.lastIndexOf("/");
    const record = recordOf(review, key.slice(0, cut), Number(key.slice(cut + 1)));
    for (const name of MARKS) {
      const mine = mark[name];
      const nothing = name === "comment" ? "" : null;
      if (mine !== undefined) {
        found.push({ part: `${key}/${name}`, theirs: record?.[name] ?? nothing, mine });
      }
    }
  }
  return found;
}

/** What the review says now where the patch changes it. */
export const seenBy = (patch: ReviewPatch, review: ReviewContent): Record<string, string | null> =>
  Object.fromEntries(parts(patch, review).map(({ part, theirs }) => [part, theirs]));

/** What somebody else changed since the reader saw it, and the reader as well, otherwise. */
export function clashes(patch: ReviewPatch, now: ReviewContent): Clash[] {
  return parts(patch, now).filter(({ part, theirs, mine }) => {
    const seen = patch.seen?.[part];
    return seen !== undefined && theirs !== seen && theirs !== mine;
  });
}

/** The patch without what clashes: theirs stands. */
export function withoutClashes(patch: ReviewPatch, now: ReviewContent): ReviewPatch {
  const clashing = new Set(clashes(patch, now).map(({ part }) => part));
  const kept = (prefix: string) => (entry: [string, unknown]) => !clashing.has(prefix + entry[0]);
  const pick = <T extends object>(from: T, prefix: string): T =>
    Object.fromEntries(Object.entries(from).filter(kept(prefix))) as T;
  const hotspots = Object.entries(patch.hotspots ?? {})
    .map(([key, mark]) => [key, pick(mark, `${key}/`)] as const)
    .filter(([, mark]) => Object.keys(mark).length > 0);
  const less = { fields: pick(patch.fields ?? {}, ""), hotspots: Object.fromEntries(hotspots) };
  return { ...less, seen: seenBy(less, now) };
}

/** The patch as one made by a reader who has seen the review as it is now. */
export const withSeen = (patch: ReviewPatch, now: ReviewContent): ReviewPatch => ({
  ...patch,
  seen: seenBy(patch, now),
});

/** What clashes, in words. */
export function clashText(found: readonly Clash[], now: Review): string {
  const who = now.reviewer || "Someone else";
  const quoted = (value: string | null) => (value ? `“${value}”` : "nothing");
  return found
    .map(({ part, theirs, mine }) => {
      const [, index] = /\/(\d+)\/\w+$/.exec(part) ?? [];
      const where = index === undefined ? `The ${part}` : `Hotspot ${Number(index) + 1}`;
      return `${where}: ${who} put ${quoted(theirs)}, you ${quoted(mine)}.`;
    })
    .join(" ");
}

/** What a patch says, for a reader who may have to give it up; empty where nothing was said. */
export function patchText(patch: ReviewPatch): string {
  const { diagnosis, comment } = patch.fields ?? {};
  const spots = Object.entries(patch.hotspots ?? {});
  const said = spots.filter(
    ([, mark]) => mark.decision !== undefined || mark.comment !== undefined,
  );
  const words = [
    diagnosis && `the diagnosis “${diagnosis}”`,
    comment !== undefined && "your comment",
    said.length > 0 &&
      `your decision on ${said.length === 1 ? "a hotspot" : `${said.length} hotspots`}`,
  ].filter((word) => typeof word === "string");
  const last = words.pop() ?? "";
  return words.length === 0 ? last : `${words.join(", ")} and ${last}`;
}
