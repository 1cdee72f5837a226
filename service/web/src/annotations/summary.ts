import { areaOf, isArea, isLine } from "./geometry";
import { type Annotation, type Content, sameField } from "./types";

export interface ClassSummary {
  readonly name: string;
  readonly count: number;
  /** Areas together, in level-0 pixels; regions that overlap count twice. */
  readonly areaPx: number;
}

/** How many annotations there are of each class, and how large they are; most of them first. */
export function byClass(items: readonly Content[]): ClassSummary[] {
  const found = new Map<string, { count: number; areaPx: number }>();
  for (const item of items) {
    const name = titleOf(item);
    const entry = found.get(name) ?? { count: 0, areaPx: 0 };
    entry.count += 1;
    if (isArea(item.geometry)) entry.areaPx += areaOf(item.geometry);
    found.set(name, entry);
  }
  return [...found]
    .map(([name, { count, areaPx }]) => ({ name, count, areaPx }))
    .sort((a, b) => b.count - a.count || a.name.localeCompare(b.name));
}

/** Its class; a line without one is a length. */
export const titleOf = ({ geometry, class_name }: Content): string =>
  isLine(geometry) && class_name === "unclassified" ? "Length" : class_name;

/** What a version changed, in words. */
export function changeOf(now: Annotation, before: Annotation | undefined): string {
  if (!before) return `drawn as ${now.class_name}`;
  if (now.deleted) return "deleted";
  const words = [
    before.deleted && "brought back",
    !sameField(now.geometry, before.geometry) && "outline changed",
    now.class_name !== before.class_name && `${before.class_name} → ${now.class_name}`,
    now.comment !== before.comment &&
      (now.comment === "" ? "comment removed" : `comment “${now.comment}”`),
  ];
  return words.filter((word) => word !== false).join(", ");
}
