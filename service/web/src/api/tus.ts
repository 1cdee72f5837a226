import { DefaultHttpStack, type DetailedError, defaultOptions, Upload } from "tus-js-client";
import { API, ApiError, problem, slideOfUpload } from "./client";
import type { Slide } from "./types";

/** Sending a slide in pieces, which goes on where it stopped: after a break, after a reload. */

/** Each piece has its own digest, so it has to fit the browser's memory. */
const PIECE_BYTES = 8 << 20;
/** About two minutes of patience; whatever arrives starts it again. */
const DELAYS_MS = [0, 1000, 2000, 4000, 8000, 15_000, 30_000, 60_000];
/** The service forgets an upload that nobody goes on with after two days. */
const LASTS_MS = 48 * 3600 * 1000;

/** A checksum mismatch: the piece was changed on its way and is sent again. */
const AGAIN = [409, 423, 460];

export interface Sending {
  readonly done: Promise<Slide>;
  /** Stop; what was sent is thrown away here and there. */
  readonly abort: () => void;
}

export function sendSlide(
  file: File,
  onProgress: (share: number) => void,
  onBreak: () => void,
): Sending {
  if (file.size === 0) {
    const empty = new ApiError(422, "empty", "This file is empty.");
    return { done: Promise.reject(empty), abort: () => undefined };
  }
  let upload: Upload | null = null;
  let stop = (_error: ApiError): void => undefined;
  const done = new Promise<string>((resolve, reject) => {
    stop = reject;
    const sending = new Upload(file, {
      endpoint: `${location.origin}${API}/uploads`,
      metadata: { filename: file.name },
      chunkSize: PIECE_BYTES,
      retryDelays: DELAYS_MS,
      removeFingerprintOnSuccess: true,
      httpStack: new CheckedStack({}),
      onShouldRetry: (error) => {
        const status = error.originalResponse?.getStatus() ?? 0;
        const again = status < 400 || status >= 500 || AGAIN.includes(status);
        if (again) onBreak();
        return again;
      },
      onProgress: (sent, total) => onProgress(sent / total),
      onSuccess: () => resolve(sending.url ?? ""),
      onError: (error) => {
        const reason = asApiError(error);
        // What the service refuses for good is no upload that could go on one day.
        if (isRefusal(reason)) void forget(sending);
        reject(reason);
      },
    });
    upload = sending;
    void sending.findPreviousUploads().then(([before]) => {
      if (before) sending.resumeFromPreviousUpload(before);
      sending.start();
    });
  });
  return {
    done: done.then(slideOfUpload),
    abort: () => {
      stop(new ApiError(0, "aborted", "Upload stopped."));
      // An upload that has not begun has nothing to throw away.
      if (upload?.url) void upload.abort(true).catch(() => undefined);
      else void upload?.abort();
    },
  };
}

const isRefusal = ({ status }: ApiError): boolean =>
  status >= 400 && status < 500 && ![401, 403].includes(status);

async function forget(upload: Upload): Promise<void> {
  for (const { urlStorageKey } of await upload.findPreviousUploads()) {
    await defaultOptions.urlStorage.removeUpload(urlStorageKey);
  }
}

export interface Interrupted {
  readonly name: string;
  readonly size: number;
  readonly forget: () => void;
}

/** Uploads that a reload or a closed page broke off: the same file goes on where it stopped. */
export async function interruptedUploads(): Promise<readonly Interrupted[]> {
  const { urlStorage } = defaultOptions;
  const found: Interrupted[] = [];
  for (const upload of await urlStorage.findAllUploads()) {
    const forget = () => void urlStorage.removeUpload(upload.urlStorageKey);
    if (Date.now() - Date.parse(upload.creationTime) > LASTS_MS) forget();
    else found.push({ name: upload.metadata["filename"] ?? "", size: upload.size ?? 0, forget });
  }
  return found;
}

/** Adds the digest of each piece, which the service compares with what arrives. */
class CheckedStack extends DefaultHttpStack {
  override createRequest(method: string, url: string) {
    const request = super.createRequest(method, url);
    const send = request.send.bind(request);
    request.send = async (body: unknown) => {
      // Browsers offer digests on secure pages only (https, or loopback).
      if (body instanceof Blob && crypto.subtle) {
        const digest = await crypto.subtle.digest("SHA-256", await body.arrayBuffer());
        const text = btoa(String.fromCharCode(...new Uint8Array(digest)));
        request.setHeader("Upload-Checksum", `sha256 ${text}`);
      }
      return send(body);
    };
    return request;
  }
}

function asApiError(error: Error | DetailedError): ApiError {
  const response = "originalResponse" in error ? error.originalResponse : null;
  if (response) return problem(response.getStatus(), response.getBody());
  return new ApiError(
    0,
    "unreachable",
    "The connection was lost. What was sent is kept; try again.",
  );
}
