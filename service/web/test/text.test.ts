import { describe, expect, it } from "vitest";
import { ApiError, problem } from "../src/api/client";
import {
  ago,
  bytes,
  coarsePercent,
  mppText,
  percent,
  pipelineTitle,
  pixels,
  scoreText,
  seconds,
} from "../src/pure/format";
import { SseParser } from "../src/pure/sse";
import { parseSettings } from "../src/settings";
import { fitChoice, operatingPoint } from "../src/viewer/choice";

describe("numbers for people", () => {
  it("never claims a certainty that the model does not have", () => {
    expect(percent(0.9997)).toBe("> 99.9 %");
    expect(percent(0.0003)).toBe("< 0.1 %");
    expect(percent(0.4567)).toBe("45.7 %");
    expect(percent(0)).toBe("< 0.1 %");
    expect(percent(1)).toBe("> 99.9 %");
    expect(percent(0.999)).toBe("99.9 %");
    expect([0, 0.004, 0.5, 0.996, 1].map(coarsePercent)).toEqual([
      "< 1 %",
      "< 1 %",
      "50 %",
      "> 99 %",
      "> 99 %",
    ]);
    expect([0, 0.25, 0.997, 1].map(scoreText)).toEqual(["< 0.01", "0.25", "> 0.99", "> 0.99"]);
  });

  it("writes sizes, times and resolutions", () => {
    expect(bytes(0)).toBe("0 B");
    expect(bytes(999_600)).toBe("1.0 MB");
    expect(bytes(184_000_000)).toBe("184 MB");
    expect(seconds(0.0123)).toBe("12 ms");
    expect(seconds(4.26)).toBe("4.3 s");
    expect(seconds(185)).toBe("3 min 5 s");
    expect(seconds(3720)).toBe("1 h 2 min");
    expect(mppText(0.24651)).toBe("0.2465 µm/px");
    expect(mppText(null)).toBe("unknown");
    expect(pixels(46000, 900)).toBe("46\u202f000 × 900");
    expect(pipelineTitle("whole-slide")).toBe("Whole slide");
  });

  it("says how long ago", () => {
    const now = Date.parse("2026-01-10T12:00:00Z");
    expect(ago("2026-01-10T11:59:30Z", now)).toBe("just now");
    expect(ago("2026-01-10T09:00:00Z", now)).toBe("3 h ago");
    expect(ago("2026-01-01T09:00:00Z", now)).toBe("2026-01-01");
    expect(ago("no date", now)).toBe("");
  });
});

describe("server-sent events", () => {
  it("puts an event together from pieces cut anywhere", () => {
    const text = 'event: job\ndata: {"a":1}\n\n: ping\n\ndata: x\ndata: y\r\n\r\n';
    for (let cut = 0; cut <= text.length; cut++) {
      const parser = new SseParser();
      const events = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
      expect(events).toEqual([
        { event: "job", data: '{"a":1}' },
        { event: "message", data: "x\ny" },
      ]);
    }
  });

  it("keeps an unfinished event to itself", () => {
    expect(new SseParser().push("event: job\ndata: 1\n")).toEqual([]);
  });
});

describe("errors of the service", () => {
  it("keeps kind and text of problem+json", () => {
    const error = problem(422, '{"kind":"mpp","detail":"x.svs: states no resolution"}');
    expect(error).toBeInstanceOf(ApiError);
    expect([error.status, error.kind, error.message]).toEqual([
      422,
      "mpp",
      "x.svs: states no resolution",
    ]);
  });

  it("says the status where the body is no problem+json", () => {
    expect(problem(502, "<html>").message).toBe("The server answered with status 502.");
    expect(problem(500, "[]").message).toBe("The server answered with status 500.");
  });
});

describe("settings", () => {
  it("keep the overlay off at first", () => {
    expect(parseSettings(null).overlayAtOpen).toBe(false);
  });

  it("fall back where what was stored makes no sense", () => {
    const first = parseSettings(null);
    expect(parseSettings("{broken")).toEqual(first);
    expect(parseSettings('{"opacity":7,"threshold":"x","colourMap":"jet"}')).toEqual(first);
    expect(parseSettings('{"opacity":0.2,"colourMap":"inferno"}')).toEqual({
      ...first,
      opacity: 0.2,
      colourMap: "inferno",
    });
  });
});

describe("layer choice", () => {
  const result = {
    job_id: "j",
    pipeline: "patch",
    classes: ["normal", "tumor"],
    malignant: ["tumor"],
    layers: ["gradcam", "probability"],
  };

  it("starts with the probability of the suspicious class", () => {
    expect(fitChoice(result, null)).toEqual({
      jobId: "j",
      pipeline: "patch",
      kind: "probability",
      className: "tumor",
    });
  });

  it("keeps what was looked at where the other pipeline has it too", () => {
    const wanted = { jobId: "i", pipeline: "whole-slide", kind: "gradcam", className: "cancer" };
    expect(fitChoice(result, wanted)).toEqual({
      jobId: "j",
      pipeline: "patch",
      kind: "gradcam",
      className: "tumor",
    });
  });

  it("starts with all that is malignant where that is more than one class", () => {
    const three = {
      ...result,
      classes: ["normal", "dcis", "invasive"],
      malignant: ["invasive", "dcis"],
    };
    expect(fitChoice(three, null)?.className).toBe("all-malignant");
    // Grad-CAM does not add up: the most severe one.
    const wanted = { jobId: "j", pipeline: "patch", kind: "gradcam", className: "all-malignant" };
    expect(fitChoice(three, wanted)?.className).toBe("invasive");
    expect(fitChoice(three, { ...wanted, kind: "probability" })?.className).toBe("all-malignant");
  });

  it("shows probabilities from where hotspots begin, other maps from less", () => {
    expect(operatingPoint({ hotspot_threshold: 0.62 }, "patch-probability")).toBe(0.62);
    expect(operatingPoint({ hotspot_threshold: null }, "probability")).toBe(0.5);
    expect(operatingPoint({ hotspot_threshold: 0.62 }, "gradcam")).toBe(0.3);
  });

  it("is nothing where a result has no heatmap", () => {
    expect(fitChoice({ ...result, layers: [] }, null)).toBeNull();
  });
});
