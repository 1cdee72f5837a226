import { parseDzi, type TileLayout } from "../pure/dzi";
import type { Review, ReviewContent } from "../pure/review";
import { SseParser } from "../pure/sse";
import { isFinal, type Job, type Model, type Page, type Slide, type SlideResult } from "./types";

/** Everything the page asks of the service. */

export const API = "/api/v1";

/** The service answered with an error, or did not answer at all (`kind` is "away"). */
export class ApiError extends Error {
  override readonly name = "ApiError";
  constructor(
    readonly status: number,
    readonly kind: string,
    message: string,
  ) {
    super(message);
  }
}

/** Raised on the window when the service asks for a key: none was given, or the session ended. */
export const SIGNED_OUT = "wholeslide:signed-out";

export const isAway = (error: unknown): boolean =>
  error instanceof ApiError && (error.kind === "away" || [502, 503, 504].includes(error.status));

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** An ApiError out of an answer's body: problem+json, or whatever text came. */
export function problem(status: number, body: string): ApiError {
  if (status === 401) dispatchEvent(new Event(SIGNED_OUT));
  try {
    const data: unknown = JSON.parse(body);
    if (data && typeof data === "object") {
      const { kind, detail, title } = data as Record<string, unknown>;
      const text = typeof detail === "string" ? detail : typeof title === "string" ? title : "";
      return new ApiError(
        status,
        typeof kind === "string" ? kind : "error",
        text || `The service answered ${status}.`,
      );
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return new ApiError(status, "error", `The service answered ${status}.`);
}

async function ask(path: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(API + path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "away", "The service does not answer.");
  }
  if (!response.ok && response.status !== 304) {
    throw problem(response.status, await response.text());
  }
  return response;
}

async function askJson<T>(path: string, init?: RequestInit): Promise<T> {
  return (await (await ask(path, init)).json()) as T;
}

const json = (method: string, body: unknown): RequestInit => ({
  method,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

/** Exchange a key for a session; the cookie is set by the service and unseen by scripts. */
export const signIn = async (key: string): Promise<void> => {
  await ask("/session", json("POST", { key }));
};

export const listSlides = (limit: number, offset: number): Promise<Page<Slide>> =>
  askJson(`/slides?limit=${limit}&offset=${offset}`);

export const getSlide = (id: string): Promise<Slide> => askJson(`/slides/${id}`);

export const setMpp = (id: string, mpp: number): Promise<Slide> =>
  askJson(`/slides/${id}`, json("PATCH", { mpp }));

export const listModels = async (): Promise<readonly Model[]> => {
  const answer = await askJson<readonly Model[] | Page<Model>>("/models");
  return "items" in answer ? answer.items : answer;
};

export const listJobs = (query: string): Promise<Page<Job>> => askJson(`/jobs?${query}`);

export const startJob = (slideId: string, pipeline: string, model: string | null): Promise<Job> =>
  askJson("/jobs", json("POST", { slide_id: slideId, pipeline, ...(model ? { model } : {}) }));

export const cancelJob = (id: string): Promise<Job> =>
  askJson(`/jobs/${id}/cancel`, { method: "POST" });

export const getResult = (jobId: string): Promise<SlideResult> => askJson(`/jobs/${jobId}/result`);

/** The newest review, or null where `seen` is still the newest version. */
export async function getReview(slideId: string, seen: number): Promise<Review | null> {
  const response = await ask(`/slides/${slideId}/review`, {
    headers: { "If-None-Match": `"${seen}"` },
    // The page compares versions itself; the browser's cache would answer 200 for a 304.
    cache: "no-store",
  });
  return response.status === 304 ? null : ((await response.json()) as Review);
}

export const putReview = (
  slideId: string,
  seen: number,
  review: ReviewContent,
): Promise<Review> => {
  const request = json("PUT", review);
  return askJson(`/slides/${slideId}/review`, {
    ...request,
    headers: { ...request.headers, "If-Match": `"${seen}"` },
  });
};

export const getHistory = async (slideId: string): Promise<readonly Review[]> =>
  (await askJson<{ items: readonly Review[] }>(`/slides/${slideId}/review/history`)).items;

export const heatmapUrl = (jobId: string, kind: string, className: string): string =>
  `${API}/jobs/${jobId}/heatmaps/${encodeURIComponent(kind)}/${encodeURIComponent(className)}.png`;

export const getBlob = async (url: string): Promise<Blob> =>
  (await ask(url.startsWith(API) ? url.slice(API.length) : url)).blob();

export const thumbnailUrl = (id: string, maxPx: number): string =>
  `${API}/slides/${id}/thumbnail.jpg?max_px=${maxPx}`;

export const overlayUrl = (jobId: string, kind: string, className: string): string =>
  `${API}/jobs/${jobId}/heatmaps/${encodeURIComponent(kind)}/${encodeURIComponent(className)}/overlay.png?max_px=600`;

export const getLayout = async (slideId: string): Promise<TileLayout | null> =>
  parseDzi(await (await ask(`/slides/${slideId}/slide.dzi`)).text());

export const dziUrl = (id: string): string => `${API}/slides/${id}/slide.dzi`;

/** Follow a job's changes until its end, by events; where the stream breaks, by asking again. */
export async function followJob(
  id: string,
  onChange: (job: Job) => void,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      if (await readEvents(id, onChange, signal)) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError || error instanceof TypeError)) throw error;
    }
    await pause(1500, signal);
    if (signal.aborted) return;
    try {
      const job = await askJson<Job>(`/jobs/${id}`, { signal });
      onChange(job);
      if (isFinal(job.status)) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!isAway(error)) throw error;
    }
  }
}

/** Returns whether a final state was seen. */
async function readEvents(
  id: string,
  onChange: (job: Job) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const response = await ask(`/jobs/${id}/events`, {
    signal,
    headers: { Accept: "text/event-stream" },
  });
  if (!response.body) return false;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new SseParser();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return false;
    for (const event of parser.push(value)) {
      if (event.event !== "job") continue;
      const job = JSON.parse(event.data) as Job;
      onChange(job);
      if (isFinal(job.status)) return true;
    }
  }
}

export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

export interface Upload {
  readonly done: Promise<Slide>;
  readonly abort: () => void;
}

/** Send a slide. XMLHttpRequest, because fetch still cannot say how much was sent. */
export function uploadSlide(
  file: File,
  mpp: number | null,
  onProgress: (share: number) => void,
): Upload {
  const request = new XMLHttpRequest();
  const done = new Promise<Slide>((resolve, reject) => {
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) {
        resolve(JSON.parse(request.responseText) as Slide);
      } else reject(problem(request.status, request.responseText));
    });
    request.addEventListener("error", () =>
      reject(new ApiError(0, "away", "The connection broke before the file was sent.")),
    );
    request.addEventListener("abort", () => reject(new ApiError(0, "aborted", "Upload stopped.")));
    const form = new FormData();
    // Fields before the file: the service can read them before the bytes arrive.
    if (mpp !== null) form.append("mpp", String(mpp));
    form.append("file", file, file.name);
    request.open("POST", `${API}/slides`);
    request.send(form);
  });
  return { done, abort: () => request.abort() };
}
