/** Injection token of {@link HttpOptions}. */
export const HTTP_OPTIONS = 'hxo:http-options';

/** What the HTTP part needs from the settings. */
export interface HttpOptions {
  /** Address that the server listens on. */
  readonly host: string;
  readonly tokens: { readonly admiral?: string; readonly captain?: string };
  readonly allow_captain_view: boolean;
  /** HXO_ENABLED. */
  readonly enabled: boolean;
  /** Largest body taken, in bytes. */
  readonly body_limit_bytes: number;
}
