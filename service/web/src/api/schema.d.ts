/** Generated from the service's OpenAPI document by `npm run api`; do not edit. */

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        readonly AnnotationHistory: {
            readonly items: readonly components["schemas"]["AnnotationOut"][];
        };
        readonly AnnotationIn: {
            readonly geometry: {
                readonly [key: string]: unknown;
            };
            /** @default unclassified */
            readonly class_name: string;
            /** @default  */
            readonly comment: string;
            /** @default  */
            readonly author: string;
            /** @default  */
            readonly reason: string;
        };
        readonly AnnotationList: {
            readonly items: readonly components["schemas"]["AnnotationOut"][];
            readonly change: number;
            readonly signed: boolean;
        };
        readonly AnnotationOut: {
            readonly id: string;
            readonly slide_id: string;
            readonly version: number;
            readonly change: number;
            readonly geometry: {
                readonly [key: string]: unknown;
            };
            readonly class_name: string;
            readonly comment: string;
            readonly author: string;
            readonly changed_by: string;
            /** Format: date-time */
            readonly created_at: string;
            /** Format: date-time */
            readonly changed_at: string;
            /** @default  */
            readonly reason: string;
            /** @default false */
            readonly deleted: boolean;
        };
        readonly AssociatedOut: {
            readonly names: readonly string[];
        };
        readonly AuditOut: {
            /** Format: date-time */
            readonly at: string;
            readonly who: string;
            readonly role: string;
            readonly action: string;
            readonly target: string;
            readonly status: number;
            readonly client: string;
        };
        readonly BatchIn: {
            /** @default  */
            readonly name: string;
            readonly pipelines: readonly string[];
            /** @default -10 */
            readonly priority: number;
            readonly callback_url?: string | null;
            readonly slide_ids: readonly string[];
            readonly mpp?: number | null;
            /** @default false */
            readonly force_mpp: boolean;
        };
        readonly BatchOut: {
            readonly id: string;
            readonly name: string;
            /** Format: date-time */
            readonly created_at: string;
            readonly total: number;
            readonly counts: {
                readonly [key: string]: number;
            };
            readonly progress: number;
            readonly finished: boolean;
            readonly webhook: components["schemas"]["WebhookOut"] | null;
        };
        readonly BatchPage: {
            readonly items: readonly components["schemas"]["BatchOut"][];
            readonly total: number;
        };
        readonly ClassList: {
            readonly items: readonly string[];
        };
        readonly FolderIn: {
            /** @default  */
            readonly name: string;
            readonly pipelines: readonly string[];
            /** @default -10 */
            readonly priority: number;
            readonly callback_url?: string | null;
            readonly path: string;
            readonly mpp?: number | null;
            /** @default false */
            readonly force_mpp: boolean;
        };
        readonly HotspotDecision: {
            readonly job_id: string;
            readonly index: number;
            readonly decision?: ("agree" | "disagree" | "unsure") | null;
            /** @default  */
            readonly comment: string;
            /** @default false */
            readonly seen: boolean;
        };
        readonly ImportOut: {
            readonly added: number;
            readonly already_there: number;
            readonly ignored: number;
            readonly warnings: readonly string[];
        };
        readonly ItemOut: {
            readonly number: number;
            readonly slide_id: string;
            readonly slide_name: string | null;
            readonly pipeline: string;
            readonly job: components["schemas"]["JobOut"] | null;
            readonly error_kind: string | null;
            readonly error: string | null;
        };
        readonly ItemPage: {
            readonly items: readonly components["schemas"]["ItemOut"][];
            readonly total: number;
        };
        readonly JobIn: {
            readonly slide_id: string;
            readonly pipeline: string;
            readonly model?: string | null;
            readonly mpp?: number | null;
            /** @default false */
            readonly force_mpp: boolean;
            /** @default 0 */
            readonly priority: number;
            readonly callback_url?: string | null;
        };
        readonly JobOut: {
            readonly id: string;
            readonly slide_id: string;
            readonly slide_name: string;
            readonly pipeline: string;
            readonly model: string;
            readonly status: components["schemas"]["JobStatus"];
            readonly progress: number;
            readonly stage: string;
            readonly attempt: number;
            readonly priority: number;
            readonly queue: string;
            /** Format: date-time */
            readonly created_at: string;
            readonly started_at: string | null;
            readonly finished_at: string | null;
            readonly error_kind: string | null;
            readonly error: string | null;
            readonly cancel_requested: boolean;
        };
        readonly JobPage: {
            readonly items: readonly components["schemas"]["JobOut"][];
            readonly total: number;
        };
        /** @enum {string} */
        readonly JobStatus: "QUEUED" | "RUNNING" | "SUCCEEDED" | "FAILED" | "CANCELLED";
        readonly KeyIn: {
            readonly name: string;
            /** @enum {string} */
            readonly role: "viewer" | "pathologist" | "operator" | "admin";
        };
        readonly KeyOut: {
            readonly id: string;
            readonly name: string;
            readonly role: string;
            /** Format: date-time */
            readonly created_at: string;
            readonly revoked_at: string | null;
        };
        readonly LayerOut: {
            readonly name: string;
            readonly bit: number;
            readonly share: number;
        };
        readonly MapOut: {
            readonly kind: string;
            readonly class_name: string;
        };
        readonly Me: {
            readonly name: string;
            readonly role: string;
            /** @enum {string} */
            readonly known_by: "key" | "token" | "nothing";
            readonly blind_first_read: boolean;
        };
        readonly ModelCall: {
            readonly pipeline: string;
            readonly model: string;
            readonly job_id: string;
            readonly class_name: string;
            readonly probability: number;
        };
        readonly ModelOut: {
            readonly name: string;
            readonly pipeline: string;
            readonly architecture: string;
            readonly classes: readonly string[];
            readonly malignant: readonly string[];
            readonly mpp: number;
            readonly digest: string;
            readonly created_at: string;
            readonly metrics: {
                readonly [key: string]: unknown;
            };
        };
        readonly NewKeyOut: {
            readonly id: string;
            readonly name: string;
            readonly role: string;
            /** Format: date-time */
            readonly created_at: string;
            readonly revoked_at: string | null;
            readonly secret: string;
        };
        readonly NewerOut: {
            readonly pipeline: string;
            readonly model: string;
            readonly finished_at: string | null;
        };
        readonly Problem: {
            readonly type: string;
            readonly title: string;
            readonly status: number;
            readonly detail: string;
            readonly kind: string;
        } & {
            readonly [key: string]: unknown;
        };
        readonly QualityOut: {
            readonly flagged: boolean;
            readonly usable_share: number;
            readonly shares: {
                readonly [key: string]: number;
            };
        };
        readonly Reader: {
            readonly name: string;
        };
        readonly ReaderHeartbeat: {
            /** @default  */
            readonly name: string;
        };
        readonly Readers: {
            readonly items: readonly components["schemas"]["Reader"][];
        };
        readonly Registration: {
            readonly path: string;
            readonly mpp?: number | null;
            /** @default false */
            readonly force_mpp: boolean;
        };
        readonly ReportOut: {
            readonly slide_id: string;
            readonly resolution: string;
            readonly review: components["schemas"]["ReviewOut"];
            readonly runs: readonly components["schemas"]["RunOut"][];
            readonly newer_runs: readonly components["schemas"]["NewerOut"][];
            readonly software: string;
            /** Format: date-time */
            readonly made_at: string;
        };
        readonly ResultBrief: {
            readonly job_id: string;
            readonly pipeline: string;
            readonly model: string;
            readonly status: components["schemas"]["JobStatus"];
            readonly progress: number;
            readonly stage: string;
            readonly outcome: string | null;
            readonly probabilities: {
                readonly [key: string]: number;
            };
            readonly classes: readonly string[];
            readonly malignant: readonly string[];
            readonly suspicion: number | null;
            readonly hotspot_total: number | null;
            readonly hotspot_area_um2: number | null;
            readonly hotspot_score: number | null;
            readonly error: string | null;
            readonly finished_at: string | null;
            readonly warnings: readonly string[];
            readonly newer_run: components["schemas"]["RunBrief"] | null;
            readonly mpp?: number | null;
            /** @default false */
            readonly other_mpp: boolean;
        };
        readonly ReviewBrief: {
            readonly slide_id: string;
            readonly version: number;
            /** @enum {string} */
            readonly status: "draft" | "signed";
            readonly reviewer: string;
            readonly diagnosis: string | null;
            readonly blind: boolean;
            /** Format: date-time */
            readonly saved_at: string;
        };
        readonly ReviewHistory: {
            readonly items: readonly components["schemas"]["ReviewOut"][];
        };
        readonly ReviewIn: {
            /**
             * @default draft
             * @enum {string}
             */
            readonly status: "draft" | "signed";
            /** @default  */
            readonly reviewer: string;
            readonly diagnosis?: string | null;
            /** @default  */
            readonly comment: string;
            /** @default  */
            readonly reason: string;
            /** @default false */
            readonly blind: boolean;
            /** @default [] */
            readonly hotspots: readonly components["schemas"]["HotspotDecision"][];
            readonly shown_runs?: readonly string[] | null;
        };
        readonly ReviewNews: {
            readonly items: readonly components["schemas"]["ReviewBrief"][];
        };
        readonly ReviewOut: {
            /**
             * @default draft
             * @enum {string}
             */
            readonly status: "draft" | "signed";
            /** @default  */
            readonly reviewer: string;
            readonly diagnosis?: string | null;
            /** @default  */
            readonly comment: string;
            /** @default  */
            readonly reason: string;
            /** @default false */
            readonly blind: boolean;
            /** @default [] */
            readonly hotspots: readonly components["schemas"]["HotspotDecision"][];
            readonly slide_id: string;
            readonly version: number;
            readonly saved_at?: string | null;
            /** @default  */
            readonly saved_by: string;
            readonly amends?: number | null;
            /** @default [] */
            readonly model_calls: readonly components["schemas"]["ModelCall"][];
            /** @default [] */
            readonly contradicts: readonly string[];
            /** @default {} */
            readonly agreed_beyond: {
                readonly [key: string]: number;
            };
            /** @default [] */
            readonly runs: readonly components["schemas"]["SignedRun"][];
        };
        readonly RunBrief: {
            readonly job_id: string;
            readonly model: string;
            readonly status: components["schemas"]["JobStatus"];
            readonly progress: number;
            readonly stage: string;
            readonly error_kind: string | null;
            readonly error: string | null;
            /** Format: date-time */
            readonly created_at: string;
            readonly finished_at: string | null;
        };
        readonly RunOut: {
            readonly pipeline: string;
            readonly model: string;
            readonly model_digest: string;
            readonly job_id: string;
            readonly finished_at: string | null;
            readonly outcome: string | null;
            readonly outcome_text: string;
            readonly probabilities: {
                readonly [key: string]: number;
            };
            readonly resolution: string;
            readonly warnings: readonly string[];
            readonly map: components["schemas"]["MapOut"] | null;
            readonly spots: readonly components["schemas"]["SpotOut"][];
            readonly spots_note: string;
            /** @default false */
            readonly earlier: boolean;
        };
        readonly SessionIn: {
            readonly key: string;
        };
        readonly SignedRun: {
            readonly pipeline: string;
            readonly job_id: string;
            readonly result_id?: string | null;
            readonly model: string;
            /** @default  */
            readonly model_digest: string;
            readonly finished_at?: string | null;
            readonly mpp?: number | null;
            readonly outcome?: string | null;
            /** @default {} */
            readonly probabilities: {
                readonly [key: string]: number;
            };
            readonly hotspots?: number | null;
            /** @default [] */
            readonly warnings: readonly string[];
        };
        readonly SlideChange: {
            readonly mpp: number | null;
            /** @default false */
            readonly force_mpp: boolean;
        };
        readonly SlideOut: {
            readonly id: string;
            readonly name: string;
            readonly sha256: string;
            readonly size_bytes: number;
            readonly vendor: string;
            readonly width: number;
            readonly height: number;
            readonly levels: number;
            readonly mpp: number | null;
            readonly stated_mpp: number | null;
            readonly given_mpp: number | null;
            readonly mpp_problem: string;
            readonly magnification: number | null;
            /** Format: date-time */
            readonly created_at: string;
            readonly stripped_sha256: string | null;
            readonly stripped_at: string | null;
            readonly results: readonly components["schemas"]["ResultBrief"][];
            readonly quality: components["schemas"]["QualityOut"] | null;
            readonly review: components["schemas"]["ReviewBrief"] | null;
            readonly refusal?: string | null;
        };
        readonly SlidePage: {
            readonly items: readonly components["schemas"]["SlideOut"][];
            readonly total: number;
        };
        readonly SpotOut: {
            readonly number: number;
            readonly class_name: string;
            readonly score: number;
            readonly area_um2: number;
            readonly polygon_level0: readonly (readonly [
                number,
                number
            ])[];
            readonly centre_level0: readonly [
                number,
                number
            ];
            readonly decision: string | null;
            readonly comment: string;
            readonly seen: boolean;
        };
        readonly TissueOut: {
            readonly layers: readonly components["schemas"]["LayerOut"][];
            readonly reasons: readonly string[];
            readonly digest: string;
        };
        readonly UploadOut: {
            readonly id: string;
            readonly offset: number;
            readonly length: number;
            /** Format: date-time */
            readonly expires_at: string;
            readonly slide_id: string | null;
        };
        readonly WebhookOut: {
            readonly state: string;
            readonly attempts: number;
            readonly error: string | null;
        };
        readonly WorkerOut: {
            readonly name: string;
            readonly queues: readonly string[];
            readonly capabilities: {
                readonly [key: string]: unknown;
            };
            /** @deprecated */
            readonly abilities: {
                readonly [key: string]: unknown;
            };
            readonly started_at: string | null;
            readonly seen_at: string | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
