/** Every error code that HXO answers with. Stable: scripts may match on them. */
export type HxoErrorCode =
  | 'INVALID_PLAN' // 400: a field is missing, unknown, of the wrong type or out of range
  | 'PLAN_NOT_FOUND' // 404
  | 'STAGE_NOT_FOUND' // 404
  | 'SHARD_NOT_FOUND' // 404
  | 'ARTIFACT_NOT_FOUND' // 404
  | 'REGISTRY_ENTRY_NOT_FOUND' // 404: no plan has put such a module into the registry
  | 'INDEX_NOT_FOUND' // 404: nothing to search yet, or its artifacts are gone
  | 'PLAN_FINISHED' // 409: aborting or submitting a plan that has ended
  | 'PLAN_ALREADY_SUBMITTED' // 409
  | 'PLAN_NOT_FINISHED' // 409: no certificate or receipt yet
  | 'NOT_CERTIFIED' // 409: the plan ended without a certificate (aborted, or failed before any dispatch)
  | 'BLUEPRINT_VIOLATION' // 422: unknown kind, disallowed partitioner or executor, bad config, cycle
  | 'NOT_IN_THIS_BUILD' // 422: a kind whose partitioner or executor is not built yet
  | 'IDEMPOTENCY_KEY_REUSED' // 422: same key, another body
  | 'FORBIDDEN' // 403: the actor's role lacks the capability
  | 'INVALID_QUERY' // 400: a query parameter
  | 'HXO_DISABLED' // 503: HXO_ENABLED=false
  | 'CACHE_UNAVAILABLE' // 503: the cache cannot be reached; Retry-After
  | 'STORE_UNAVAILABLE'; // 503: the checkpoint store is locked, full or read-only; Retry-After

/** A field that is wrong, for `errors[]` of problem+json. */
export interface FieldError {
  /** Dotted path: `stages[1].config.chunk_size_mb`. */
  readonly field: string;
  readonly message: string;
}

/** An error that is the caller's to mend. Its message says how. */
export class HxoError extends Error {
  override readonly name = 'HxoError';
  constructor(
    readonly code: HxoErrorCode,
    message: string,
    readonly errors: readonly FieldError[] = [],
  ) {
    super(message);
  }
}
