import { describe, expect, it } from "vitest";
import {
  areaText,
  baseMagnification,
  imageZoomFor,
  lengthText,
  magnification,
  magnificationText,
  scaleBar,
  zoomAround,
} from "../src/pure/scale";

describe("scale bar", () => {
  it.each([
    [0.25, "20 µm", 80],
    [0.5, "50 µm", 100],
    [1, "100 µm", 100],
    [8, "1 mm", 125],
    [50, "5 mm", 100],
    [0.005, "500 nm", 100],
  ])("at %f µm a pixel reads %s", (umPerPx, label, width) => {
    const bar = scaleBar(umPerPx);
    expect(bar?.label).toBe(label);
    expect(bar?.widthPx).toBeCloseTo(width);
  });

  it("is never longer than allowed nor shorter than 2/5 of it", () => {
    for (let um = 0.001; um < 1000; um *= 1.07) {
      const width = scaleBar(um, 140)?.widthPx ?? 0;
      expect(width).toBeLessThanOrEqual(140 * (1 + 1e-9));
      expect(width).toBeGreaterThanOrEqual(140 * 0.4 - 1e-9);
    }
  });

  it("is absent where the resolution makes no sense", () => {
    expect(scaleBar(0)).toBeNull();
    expect(scaleBar(Number.NaN)).toBeNull();
    expect(scaleBar(Number.POSITIVE_INFINITY)).toBeNull();
  });

  it("writes lengths and areas in the unit that people use", () => {
    expect(lengthText(0.5)).toBe("500 nm");
    expect(lengthText(1500)).toBe("1.5 mm");
    expect(areaText(5000)).toBe("5000 µm²");
    expect(areaText(250000)).toBe("0.25 mm²");
  });
});

describe("magnification", () => {
  it("believes the slide before the convention", () => {
    expect(baseMagnification(0.2465, 40)).toBe(40);
    expect(baseMagnification(0.5, null)).toBe(20);
    expect(baseMagnification(null, null)).toBeNull();
    expect(baseMagnification(0.5, 0)).toBe(20);
  });

  it("goes to a magnification and comes back", () => {
    for (const wanted of [2.5, 5, 10, 20, 40]) {
      expect(magnification(imageZoomFor(wanted, 20), 20)).toBeCloseTo(wanted);
    }
  });

  it("is written with as many digits as help", () => {
    expect(magnificationText(40.02)).toBe("40×");
    expect(magnificationText(2.5)).toBe("2.5×");
    expect(magnificationText(0.314)).toBe("0.31×");
  });
});

describe("the zoom that shows a hotspot", () => {
  const view = { width: 900, height: 700 };

  it("is the highest usual power at which all of it has room", () => {
    // Level 0 is 40x: 600 px at 20x are 300 screen pixels.
    expect(zoomAround({ width: 600, height: 400 }, view, 40)).toBe(0.5);
    expect(zoomAround({ width: 2200, height: 400 }, view, 40)).toBe(0.25);
    expect(zoomAround({ width: 400, height: 6000 }, view, 40)).toBe(2.5 / 40);
  });

  it("is less where the hotspot is larger than those show", () => {
    const zoom = zoomAround({ width: 20_000, height: 1000 }, view, 40);
    expect(zoom * 20_000 * 1.6).toBeCloseTo(900);
  });

  it("never draws a pixel of the file larger than 1.5 screen pixels", () => {
    // A file of 4 um a pixel, 2.5x: 20x would be eight screen pixels a pixel.
    expect(zoomAround({ width: 10, height: 10 }, view, 2.5)).toBe(1);
    expect(zoomAround({ width: 10, height: 10 }, view, 1)).toBe(1.5);
    expect(zoomAround({ width: 10, height: 10 }, view, null)).toBe(0.5);
  });
});
