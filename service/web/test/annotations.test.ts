import { describe, expect, it } from "vitest";
import { colourOf } from "../src/annotations/classes";
import { Draft } from "../src/annotations/draft";
import {
  areaOf,
  boundsOf,
  contains,
  cornersOf,
  distanceTo,
  insertCorner,
  lengthOf,
  middlesOf,
  moveBy,
  moveCorner,
  removeCorner,
  simplify,
} from "../src/annotations/geometry";
import { Outbox, type Pending, parsePending, resolve } from "../src/annotations/outbox";
import { statusText } from "../src/annotations/panel";
import { byClass, changeOf } from "../src/annotations/summary";
import { factsOf, measureText } from "../src/annotations/text";
import type { Annotation, Content, Geometry, Positions } from "../src/annotations/types";
import { UndoList } from "../src/annotations/undo";

const ring = (side: number, at = 0): Positions => [
  [at, at],
  [at + side, at],
  [at + side, at + side],
  [at, at + side],
  [at, at],
];
const SQUARE: Geometry = { type: "Polygon", coordinates: [ring(100)] };
const HOLED: Geometry = { type: "Polygon", coordinates: [ring(100), ring(20, 40)] };
const TWO: Geometry = { type: "MultiPolygon", coordinates: [[ring(10)], [ring(10, 50)]] };
const LINE: Geometry = {
  type: "LineString",
  coordinates: [
    [0, 0],
    [30, 40],
  ],
};
const SLIDE = { width: 1000, height: 800 };

describe("geometry", () => {
  it("measures areas without their holes, and lengths", () => {
    expect(areaOf(SQUARE)).toBe(10000);
    expect(areaOf(HOLED)).toBe(9600);
    expect(areaOf(TWO)).toBe(200);
    expect(areaOf(LINE)).toBe(0);
    expect(lengthOf(LINE)).toBe(50);
    expect(boundsOf(TWO)).toEqual({ left: 0, top: 0, right: 60, bottom: 60 });
  });

  it("knows inside from hole and outside, and how far the outline is", () => {
    expect(contains(HOLED, [10, 10])).toBe(true);
    expect(contains(HOLED, [50, 50])).toBe(false);
    expect(contains(HOLED, [150, 50])).toBe(false);
    expect(contains(LINE, [15, 20])).toBe(false);
    expect(distanceTo(SQUARE, [50, -7])).toBe(7);
    expect(distanceTo({ type: "Point", coordinates: [3, 4] }, [0, 0])).toBe(5);
  });

  it("moves, puts in and takes out corners, and keeps rings closed", () => {
    expect(cornersOf(HOLED)).toHaveLength(8);
    const moved = moveCorner(SQUARE, { part: 0, index: 0 }, [-5, -5]);
    expect(moved.coordinates).toEqual([
      [
        [-5, -5],
        [100, 0],
        [100, 100],
        [0, 100],
        [-5, -5],
      ],
    ]);
    const last = middlesOf(SQUARE)[3];
    expect(last).toEqual({ part: 0, index: 4, at: [0, 50] });
    const more = insertCorner(SQUARE, { part: 0, index: 4 }, [-9, 50]);
    expect(cornersOf(more)).toHaveLength(5);
    const hole = removeCorner(HOLED, { part: 1, index: 0 });
    expect(hole && cornersOf(hole)).toHaveLength(7);
    expect(hole && removeCorner(hole, { part: 1, index: 0 })).toBeNull();
    expect(removeCorner(LINE, { part: 0, index: 0 })).toBeNull();
  });

  it("moves the whole no further than the slide reaches", () => {
    expect(boundsOf(moveBy(SQUARE, [-50, 20], SLIDE))).toMatchObject({ left: 0, top: 20 });
    expect(boundsOf(moveBy(SQUARE, [5000, 5000], SLIDE))).toMatchObject({
      right: 1000,
      bottom: 800,
    });
  });

  it("leaves out points that say nothing", () => {
    const straight: Positions = [
      [0, 0],
      [10, 0.2],
      [20, 0],
      [20, 30],
    ];
    expect(simplify(straight, 1)).toEqual([
      [0, 0],
      [20, 0],
      [20, 30],
    ]);
    expect(simplify(straight, 0.1)).toEqual(straight);
  });
});

describe("drawing", () => {
  const draw = (tool: Draft["tool"], points: Positions): Draft => {
    const draft = new Draft(tool, SLIDE);
    for (const point of points) draft.put(point);
    return draft;
  };

  it("closes a polygon, passes over double points, and needs three corners", () => {
    const corners: Positions = [
      [10, 10],
      [200, 10],
      [200, 10],
      [100, 150],
    ];
    expect(draw("polygon", corners).finish(1)).toEqual({
      type: "Polygon",
      coordinates: [
        [
          [10, 10],
          [200, 10],
          [100, 150],
          [10, 10],
        ],
      ],
    });
    expect(draw("polygon", corners.slice(0, 3)).finish(1)).toBeNull();
  });

  it("keeps everything on the slide", () => {
    const draft = draw("rectangle", [
      [-50, -50],
      [4000, 300],
    ]);
    expect(draft.finish(1)?.coordinates).toEqual([
      [
        [0, 0],
        [1000, 0],
        [1000, 300],
        [0, 300],
        [0, 0],
      ],
    ]);
  });

  it("makes a freehand line a polygon with few corners", () => {
    const draft = new Draft("freehand", SLIDE);
    draft.put([100, 100]);
    for (let at = 0; at <= 360; at += 2) {
      const turn = (at * Math.PI) / 180;
      draft.follow([100 + 50 * Math.sin(turn), 150 - 50 * Math.cos(turn)]);
    }
    const shape = draft.finish(1);
    expect(shape?.type).toBe("Polygon");
    expect(shape && cornersOf(shape).length).toBeLessThan(40);
    expect(shape && areaOf(shape) / (Math.PI * 2500)).toBeCloseTo(1, 1);
  });

  it("says when a point completes the shape, and refuses what is too small", () => {
    const length = new Draft("measure", SLIDE);
    expect(length.put([10, 10])).toBe(false);
    expect(length.put([10, 60])).toBe(true);
    expect(length.finish(1)).toEqual({
      type: "LineString",
      coordinates: [
        [10, 10],
        [10, 60],
      ],
    });
    expect(
      draw("measure", [
        [10, 10],
        [11, 10],
      ]).finish(1),
    ).toBeNull();
    expect(
      draw("rectangle", [
        [10, 10],
        [11, 11],
      ]).finish(1),
    ).toBeNull();
    expect(new Draft("point", SLIDE).put([5, 5])).toBe(true);
    const thereAndBack: Positions = [
      [10, 10],
      [90, 90],
      [50, 50],
    ];
    expect(draw("polygon", thereAndBack).finish(1)).toBeNull();
    const bowTie: Positions = [
      [10, 10],
      [90, 90],
      [90, 10],
      [10, 90],
    ];
    expect(draw("polygon", bowTie).finish(1)).not.toBeNull();
  });

  it("shows what follows the pointer, and takes points back", () => {
    const draft = draw("polygon", [
      [0, 0],
      [50, 0],
    ]);
    draft.follow([50, 50]);
    expect(draft.preview()?.coordinates).toEqual([
      [0, 0],
      [50, 0],
      [50, 50],
    ]);
    draft.back();
    draft.back();
    expect(draft.isEmpty).toBe(true);
    expect(draft.preview()).toBeNull();
  });
});

describe("two readers at one annotation", () => {
  const base: Content = { geometry: SQUARE, class_name: "cancer", comment: "" };
  const theirs = (changes: Partial<Content>): Annotation => ({
    ...base,
    ...changes,
    id: "x",
    slide_id: "s",
    change: 2,
    version: 2,
    author: "Ann",
    changed_by: "Bob",
    created_at: "",
    changed_at: "",
    deleted: false,
    reason: "",
  });

  it("have each change told in words", () => {
    const before = theirs({});
    const now = theirs({ class_name: "stroma", comment: "loose", geometry: TWO });
    expect(changeOf(before, undefined)).toBe("drawn as cancer");
    expect(changeOf(now, before)).toBe("outline changed, cancer → stroma, comment “loose”");
    expect(changeOf({ ...before, deleted: true }, before)).toBe("deleted");
    expect(changeOf(before, { ...now, deleted: true })).toContain("brought back");
  });

  const mine = (wish: Content | null): Pending => ({ seen: 1, before: base, wish, reason: "" });

  it("changes of different things go together", () => {
    const found = resolve(mine({ ...base, comment: "invades" }), theirs({ geometry: HOLED }));
    expect(found).toMatchObject({
      kind: "merged",
      pending: { seen: 2, wish: { geometry: HOLED, comment: "invades", class_name: "cancer" } },
    });
  });

  it("of two changes of one thing both are kept", () => {
    const wish = { ...base, geometry: LINE };
    expect(resolve(mine(wish), theirs({ geometry: HOLED }))).toEqual({ kind: "copy", wish });
  });

  it("the same change twice is one", () => {
    const wish = { ...base, class_name: "benign" };
    expect(resolve(mine(wish), theirs({ class_name: "benign" }))).toEqual({ kind: "done" });
  });

  it("what somebody changed is not deleted, and what they deleted is drawn anew if changed", () => {
    expect(resolve(mine(null), theirs({ comment: "look" }))).toEqual({ kind: "kept" });
    expect(resolve(mine(null), null)).toEqual({ kind: "done" });
    const wish = { ...base, comment: "mine" };
    expect(resolve(mine(wish), null)).toEqual({ kind: "copy", wish });
  });
});

describe("what is not sent", () => {
  class FakeStorage {
    [key: string]: unknown;
    setItem(key: string, value: string): void {
      this[key] = value;
    }
    removeItem(key: string): void {
      delete this[key];
    }
  }
  const pending: Pending = { seen: 0, before: null, wish: null, reason: "" };

  it("is there again after a reload, for its own slide", () => {
    const storage = new FakeStorage() as unknown as Storage;
    const box = new Outbox("s1", storage);
    box.set("a", pending);
    box.set("b", pending);
    box.delete("b");
    expect(new Outbox("s1", storage).entries()).toEqual([["a", pending]]);
    expect(new Outbox("s2", storage).size).toBe(0);
    expect(box.kept).toBe(true);
  });

  it("says where the browser keeps nothing", () => {
    const box = new Outbox("s1", null);
    box.set("a", pending);
    expect([box.size, box.kept]).toEqual([1, false]);
  });

  it("drops what makes no sense", () => {
    for (const text of ["", "null", "7", "{}", '{"seen":1,"before":null,"wish":5}']) {
      expect(parsePending(text)).toBeNull();
    }
    expect(parsePending(JSON.stringify(pending))).toEqual(pending);
  });
});

describe("undo", () => {
  const content: Content = { geometry: SQUARE, class_name: "cancer", comment: "" };
  const said = (comment: string): Content => ({ ...content, comment });

  it("takes steps back and again, letters of one comment at once", () => {
    const list = new UndoList();
    list.add({ id: "x", before: null, after: content });
    list.add({ id: "x", before: content, after: said("a") }, "comment");
    list.add({ id: "x", before: said("a"), after: said("ab") }, "comment");
    expect(list.take("undo")).toEqual({ id: "x", before: content, after: said("ab") });
    expect(list.take("undo")?.before).toBeNull();
    expect(list.take("undo")).toBeUndefined();
    expect(list.take("redo")?.after).toEqual(content);
    list.add({ id: "y", before: null, after: content });
    expect(list.canRedo).toBe(false);
  });
});

describe("colours", () => {
  it("are those of the service", () => {
    expect(colourOf(" Tumor ")).toEqual([200, 0, 0]);
    // The same figures are in tests/unit/annotations/test_colours.py.
    expect(colourOf("My class 2")).toEqual([110, 110, 0]);
    expect(colourOf("constructor")).toEqual([110, 110, 0]);
  });
});

describe("words", () => {
  it("say what is saved, what is not, and whether it is kept", () => {
    const save = (
      state: "saved" | "offline" | "signed-out" | "refused",
      unsent: number,
      problem = "",
    ) => statusText({ state, unsent, problem }, unsent < 9, true);
    expect(save("saved", 0)).toBe("Saved");
    expect(save("offline", 0)).toBe("Offline");
    expect(save("offline", 2)).toBe("Offline: 2 not sent");
    expect(save("offline", 1, "busy")).toBe("Service busy: 1 not sent");
    expect(save("signed-out", 9)).toBe("Signed out: 9 not sent; do not close this page");
    expect(statusText({ state: "saving", unsent: 0, problem: "" }, true, false)).toBe("Loading…");
  });

  it("give sizes in micrometres, in pixels where the resolution is not known, and the author", () => {
    const mark = {
      ...{ id: "x", class_name: "cancer", comment: "", created_at: "" },
      unsent: false,
    };
    const mine = { ...mark, geometry: SQUARE, author: "Ann", mine: true };
    expect(factsOf(mine, 0.5)).toBe("2500 µm² · you");
    expect(factsOf({ ...mine, mine: false, unsent: true }, null)).toBe(
      "10000 px² · Ann · not sent",
    );
    expect(measureText(LINE, 0.5)).toBe("25 µm");
    expect(measureText(LINE, null)).toBe("50 px");
  });

  it("are counted and summed by class, most of them first", () => {
    const of = (class_name: string, geometry: Geometry) => ({ class_name, geometry, comment: "" });
    const items = [
      of("unclassified", LINE),
      of("cancer", SQUARE),
      of("cancer", HOLED),
      of("benign", { type: "Point", coordinates: [1, 1] }),
    ];
    expect(byClass(items)).toEqual([
      { name: "cancer", count: 2, areaPx: 19_600 },
      { name: "benign", count: 1, areaPx: 0 },
      { name: "Length", count: 1, areaPx: 0 },
    ]);
  });
});
