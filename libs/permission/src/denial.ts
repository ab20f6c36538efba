import type { Role } from './access.js';

/** Thrown when a caller is refused; the API answers 401 or 403. The message says what to do. */
export class AccessDenied extends Error {
  override readonly name = 'AccessDenied';
  constructor(
    /** UNAUTHENTICATED: other credentials may help (401). FORBIDDEN: this role may not (403). */
    readonly code: 'UNAUTHENTICATED' | 'FORBIDDEN',
    message: string,
    /** For the `WWW-Authenticate` header of a 401. */
    readonly challenge: string,
  ) {
    super(message);
  }
}

/** A refusal, as it goes into the audit trail. */
export interface Denial {
  readonly role: Role;
  readonly method: string;
  /** The route's pattern, or the path where no route was reached. */
  readonly route: string;
  readonly reason: string;
}

/** Where refusals are written down. */
export abstract class DenialRecorder {
  /**
   * Resolves once the denial is durable, or counted beside an equal one that is. Its failure does not change the answer: the
   * caller is refused all the same.
   */
  abstract recordDenial(denial: Denial): Promise<void>;
}
