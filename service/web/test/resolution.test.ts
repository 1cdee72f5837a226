import { describe, expect, it } from "vitest";
import {
  digitalZoom,
  otherResolution,
  statedText,
  toConfirm,
  warnings,
} from "../src/pure/resolution";
import { basePower } from "../src/pure/scale";
import { slideSuspicion, suspicionRank } from "../src/pure/suspicion";

const bare = { mpp: null, stated_mpp: null, given_mpp: null, mpp_problem: "" };
const plain = { ...bare, mpp: 0.25, stated_mpp: 0.25 };
const printer = { ...bare, stated_mpp: 84.6667, mpp_problem: "it is 300 dpi" };

describe("what a file states", () => {
  it("is said in words", () => {
    expect(statedText(bare)).toBe("This slide has no resolution (µm/px) in its metadata.");
    expect(statedText(plain)).toBe("The file states 0.25 µm/px.");
    expect(statedText(printer)).toBe(
      "The file states 84.67 µm/px, which is implausible: it is 300 dpi.",
    );
  });

  it("is contradicted by another value only where it can be true", () => {
    const wrong = "The file is wrong, use this";
    expect(toConfirm(plain, 0.5)).toBe(wrong);
    expect(toConfirm(plain, 50)).toBe(wrong);
    expect(toConfirm(plain, 0.251)).toBeNull();
    expect(toConfirm(printer, 0.5)).toBeNull();
    expect(toConfirm(bare, 0.5)).toBeNull();
  });

  it("is not called wrong where there is none: only an implausible value is confirmed", () => {
    expect(toConfirm(bare, 50)).toBe("This unusual value is right");
    expect(toConfirm(printer, 0.01)).toBe("This unusual value is right");
    expect(toConfirm(bare, 40)).toBeNull();
  });
});

describe("a value that is about to be saved", () => {
  it("is warned of where scanners do not give it", () => {
    expect(warnings(bare, 0.05, 0)).toEqual([
      "0.05 µm/px is unusual: scanners give 0.1 to 5 µm/px.",
    ]);
    expect(warnings(bare, 0.5, 3)).toEqual([]);
  });

  it("says what happens to lengths, areas and results", () => {
    expect(warnings(plain, 0.5, 2)).toEqual([
      "Lengths become 2 times and areas 4 times what they are now.",
      "2 results were made at 0.25 µm/px and will be marked as outdated: run them again.",
    ]);
    expect(warnings(plain, 0.25, 2)).toEqual([]);
  });
});

describe("a result of another resolution", () => {
  it("is marked", () => {
    expect(otherResolution([0.25, 0.25], 0.5)).toBe(
      "Made at 0.25 µm/px; the slide’s resolution is now 0.5 µm/px. Run it again.",
    );
    expect(otherResolution([0.25, 0.25], 0.25)).toBeNull();
    expect(otherResolution(null, 0.25)).toBeNull();
  });

  it("says nothing of the slide", () => {
    const result = { suspicion: 0.9, hotspot_area_um2: null, hotspot_score: null };
    expect(slideSuspicion([result])).toBe(0.9);
    expect(slideSuspicion([{ ...result, other_mpp: true }])).toBeNull();
    expect(suspicionRank([{ ...result, other_mpp: true }])).toBeNull();
  });
});

describe("magnification", () => {
  it("beyond the file's own is digital", () => {
    expect(digitalZoom(40, 20)).toBe(2);
    expect(digitalZoom(20, 20.4)).toBeNull();
  });

  it("follows a resolution that a user gave, and not the power of the file", () => {
    expect(basePower({ ...plain, magnification: 20 })).toBe(20);
    expect(basePower({ ...plain, given_mpp: 0.25, magnification: 20 })).toBe(40);
    expect(basePower({ ...bare, magnification: null })).toBeNull();
  });
});
