import { parseDzi, type TileLayout } from "../pure/dzi";
import type { Review, ReviewContent } from "../pure/review";
import { SseParser } from "../pure/sse";
import {
  type Batch,
  type BatchItem,
  isFinal,
  type Job,
  type Me,
  type Model,
  type Page,
  type Report,
  type ReviewBrief,
  type Slide,
  type SlideResult,
  type TissueInfo,
} from "./types";

/** Everything the page asks of the service. */

export const API = "/api/v1";

/** The service answered with an error, or did not answer at all (`kind` is "unreachable"). */
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

/** Raised on the window when the reader has given a key: go on where you stopped. */
export const SIGNED_IN = "wholeslide:signed-in";

export const isUnreachable = (error: unknown): boolean =>
  error instanceof ApiError &&
  (error.kind === "unreachable" || [429, 502, 503, 504].includes(error.status));

/** What goes by: the service comes back, or the reader signs in. Nothing is lost meanwhile. */
export const isTransient = (error: unknown): boolean =>
  isUnreachable(error) || (error instanceof ApiError && error.status === 401);

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
        text || `The server answered with status ${status}.`,
      );
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return new ApiError(status, "error", `The server answered with status ${status}.`);
}

export async function ask(path: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(API + path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "Can't reach the server.");
  }
  if (!response.ok && response.status !== 304) {
    throw problem(response.status, await response.text());
  }
  return response;
}

export async function askJson<T>(path: string, init?: RequestInit): Promise<T> {
  return (await (await ask(path, init)).json()) as T;
}

export const json = (method: string, body: unknown): RequestInit => ({
  method,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

/** Exchange a key for a session; the cookie is set by the service and unseen by scripts. */
export const signIn = (key: string): Promise<Me> => askJson("/session", json("POST", { key }));

export const signOut = async (): Promise<void> => {
  await ask("/session", { method: "DELETE" });
};

export const getMe = (): Promise<Me> => askJson("/session");

export const listSlides = (limit: number, offset: number): Promise<Page<Slide>> =>
  askJson(`/slides?limit=${limit}&offset=${offset}`);

export const getSlide = (id: string): Promise<Slide> => askJson(`/slides/${id}`);

/** Null goes back to what the file states; `force` counts against it. */
export const setMpp = (id: string, mpp: number | null, force = false): Promise<Slide> =>
  askJson(`/slides/${id}`, json("PATCH", { mpp, force_mpp: force }));

export const listModels = async (): Promise<readonly Model[]> => {
  const answer = await askJson<readonly Model[] | Page<Model>>("/models");
  return "items" in answer ? answer.items : answer;
};

export const listJobs = (query: string): Promise<Page<Job>> => askJson(`/jobs?${query}`);

export const startJob = (slideId: string, pipeline: string, model: string | null): Promise<Job> =>
  askJson("/jobs", json("POST", { slide_id: slideId, pipeline, ...(model ? { model } : {}) }));

/** Many slides at once; each that cannot be scored is refused by itself. */
export const startBatch = (
  name: string,
  slideIds: readonly string[],
  pipelines: readonly string[],
): Promise<Batch> =>
  askJson("/batches", json("POST", { name, slide_ids: slideIds, pipelines: pipelines }));

export const listBatches = (): Promise<Page<Batch>> => askJson("/batches?limit=50");

export const listItems = (batchId: string, offset: number): Promise<Page<BatchItem>> =>
  askJson(`/batches/${batchId}/items?limit=1000&offset=${offset}`);

export const retryBatch = (id: string): Promise<Batch> =>
  askJson(`/batches/${id}/retry`, { method: "POST" });

export const cancelBatch = (id: string): Promise<Batch> =>
  askJson(`/batches/${id}/cancel`, { method: "POST" });

export const batchCsvUrl = (id: string): string => `${API}/batches/${id}/results.csv`;

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

export const getReport = (slideId: string): Promise<Report> => askJson(`/slides/${slideId}/report`);

export const reportPdfUrl = (slideId: string): string => `${API}/slides/${slideId}/report.pdf`;

export const getHistory = async (slideId: string): Promise<readonly Review[]> =>
  (await askJson<{ items: readonly Review[] }>(`/slides/${slideId}/review/history`)).items;

/** What was saved after this time, by anybody; all there is where it is null. */
export const listChangedReviews = async (after: string | null): Promise<readonly ReviewBrief[]> => {
  const query = after === null ? "" : `?after=${encodeURIComponent(after)}`;
  return (await askJson<{ items: readonly ReviewBrief[] }>(`/reviews${query}`)).items;
};

/** Say that this page has the slide open; names of the others who have. */
export const announcePresence = async (
  slideId: string,
  reader: string,
  name: string,
): Promise<string[]> => {
  const answer = await askJson<{ items: readonly { name: string }[] }>(
    `/slides/${slideId}/readers/${reader}`,
    json("PUT", { name }),
  );
  return answer.items.map((other) => other.name);
};

/** Sent even while the page closes. */
export const withdrawPresence = (slideId: string, reader: string): void => {
  const gone = fetch(`${API}/slides/${slideId}/readers/${reader}`, {
    method: "DELETE",
    keepalive: true,
  });
  // Where it does not arrive, the service forgets this page by itself.
  gone.catch(() => undefined);
};

/** Tissue and quality layers; none where no pipeline has looked at the slide yet. */
export const getTissue = (slideId: string): Promise<TissueInfo> =>
  askJson(`/slides/${slideId}/tissue`);

export const tissueUrl = (slideId: string, digest: string): string =>
  `${API}/slides/${slideId}/tissue.png?digest=${digest}`;

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

/** Follow a job's changes until its end. */
export const followJob = (
  id: string,
  onChange: (job: Job) => void,
  signal: AbortSignal,
): Promise<void> => follow(`/jobs/${id}`, "job", (job) => isFinal(job.status), onChange, signal);

/** Follow a batch's progress until every slide of it has ended. */
export const followBatch = (
  id: string,
  onChange: (batch: Batch) => void,
  signal: AbortSignal,
): Promise<void> => follow(`/batches/${id}`, "batch", (batch) => batch.finished, onChange, signal);

/** By server-sent events; where the stream breaks, by asking again. */
async function follow<T>(
  path: string,
  event: string,
  isLast: (item: T) => boolean,
  onChange: (item: T) => void,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      if (await readEvents(path, event, isLast, onChange, signal)) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError || error instanceof TypeError)) throw error;
    }
    await pause(1500, signal);
    if (signal.aborted) return;
    try {
      const item = await askJson<T>(path, { signal });
      onChange(item);
      if (isLast(item)) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!isTransient(error)) throw error;
    }
  }
}

/** Returns whether the last state was seen. */
async function readEvents<T>(
  path: string,
  name: string,
  isLast: (item: T) => boolean,
  onChange: (item: T) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const response = await ask(`${path}/events`, {
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
      if (event.event !== name) continue;
      const item = JSON.parse(event.data) as T;
      onChange(item);
      if (isLast(item)) return true;
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

/** The slide that a finished upload became. */
export async function slideOfUpload(url: string): Promise<Slide> {
  const path = url.slice(url.indexOf(API) + API.length);
  for (let wait = 250; ; wait = Math.min(4000, wait * 2)) {
    const { slide_id } = await askJson<{ slide_id: string | null }>(path);
    if (slide_id !== null) return getSlide(slide_id);
    // All bytes are there and the answer to the last of them was lost: it is being checked.
    await pause(wait);
  }
}
