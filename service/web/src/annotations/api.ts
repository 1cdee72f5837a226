import { API, askJson, json } from "../api/client";
import type { Annotation, AnnotationList, Content, ImportOutcome } from "./types";

/** What the page asks of the service about annotations. */

const place = (slideId: string): string => `/slides/${slideId}/annotations`;

export const listAnnotations = (slideId: string, since: number): Promise<AnnotationList> =>
  askJson(`${place(slideId)}?since=${since}`, { cache: "no-store" });

export interface Wish {
  readonly seen: number;
  readonly author: string;
  readonly reason: string;
}

export const putAnnotation = (
  slideId: string,
  id: string,
  content: Content,
  { seen, author, reason }: Wish,
): Promise<Annotation> => {
  const request = json("PUT", { ...content, author, reason });
  return askJson(`${place(slideId)}/${id}`, {
    ...request,
    headers: { ...request.headers, "If-Match": `"${seen}"` },
  });
};

export const deleteAnnotation = (
  slideId: string,
  id: string,
  { seen, author, reason }: Wish,
): Promise<Annotation> =>
  askJson(`${place(slideId)}/${id}?${new URLSearchParams({ author, reason })}`, {
    method: "DELETE",
    headers: { "If-Match": `"${seen}"` },
  });

export interface ImportOptions {
  readonly newClasses: boolean;
  readonly repair: boolean;
  readonly author: string;
  readonly reason: string;
}

/** The file as it is: the service reads and checks it. */
export const importAnnotations = (
  slideId: string,
  file: Blob,
  { newClasses, repair, author, reason }: ImportOptions,
): Promise<ImportOutcome> => {
  const query = new URLSearchParams({
    new_classes: String(newClasses),
    repair: String(repair),
    author,
    reason,
  });
  return askJson(`${place(slideId)}.geojson?${query}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: file,
  });
};

/** Every version of an annotation, newest first. */
export const annotationHistory = async (
  slideId: string,
  id: string,
): Promise<readonly Annotation[]> =>
  (await askJson<{ items: readonly Annotation[] }>(`${place(slideId)}/${id}/history`)).items;

export const exportUrl = (slideId: string): string => `${API}${place(slideId)}.geojson`;

export const listClasses = async (): Promise<readonly string[]> =>
  (await askJson<{ items: readonly string[] }>("/annotation-classes")).items;
