/** A failed job, in words for a reader; paths and digests are for whoever runs the service. */

const BY_KIND: readonly (readonly [RegExp, string])[] = [
  [/^model/, "The model cannot be used. Tell your administrator."],
  [/^(store|artifact)/, "The result could not be stored. Tell your administrator."],
  [/^config/, "The service is not set up for this. Tell your administrator."],
  [/^out_of_memory$/, "This slide needs more memory than is available. Tell your administrator."],
  [/^internal$/, "Something went wrong in the analysis. Tell your administrator."],
];

/** A path of a machine, or a digest: no reader knows what to do with one. */
const INTERNAL = /(^|[\s"'(:])(\/[\w.-]+){2,}|[a-z]:\\|[0-9a-f]{32,}/i;

export function failureWords(
  kind: string | null,
  error: string | null,
): { readonly text: string; readonly details: string } {
  const said = error ?? "";
  const known = BY_KIND.find(([pattern]) => pattern.test(kind ?? ""));
  if (known) return { text: known[1], details: said };
  if (INTERNAL.test(said)) {
    return { text: "The analysis failed. Tell your administrator.", details: said };
  }
  return { text: said || "The analysis failed.", details: "" };
}
