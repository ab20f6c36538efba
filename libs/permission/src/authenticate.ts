import { createHash, timingSafeEqual } from 'node:crypto';
import { isIPv4 } from 'node:net';
import type { Role, ViewPolicy } from './access.js';

/** Roles that a credential can stand for. */
type NamedRole = Exclude<Role, 'anonymous'>;

/** How callers are told apart. Made once by {@link accessPolicy}; holds no token, only SHA-256 hashes. */
export interface AccessPolicy extends ViewPolicy {
  /**
   * `development`: the bare role names itself (`Authorization: Admiral`) and no header is an anonymous caller.
   * `tokens`: only a configured token is a credential.
   */
  readonly form: 'development' | 'tokens';
  readonly tokens: readonly { readonly role: NamedRole; readonly hash: Buffer }[];
}

export interface AccessOptions extends ViewPolicy {
  /** The address that the server listens on. */
  readonly host: string;
  readonly tokens: { readonly admiral?: string; readonly captain?: string };
}

/** Thrown when the server must not start: nothing would tell its callers apart. */
export class AccessPolicyError extends Error {
  override readonly name = 'AccessPolicyError';
}

/**
 * The policy that the settings make. Throws {@link AccessPolicyError} for an address beyond this machine without
 * tokens, and for tokens that cannot work.
 */
export function accessPolicy({ host, tokens, allow_captain_view }: AccessOptions): AccessPolicy {
  const given = (['admiral', 'captain'] as const).flatMap((role) => {
    const token = tokens[role];
    if (token === undefined) return [];
    if (!/^[\x21-\x7e]+$/.test(token)) {
      throw new AccessPolicyError(
        `The ${role} token is empty or holds characters that no header can carry. Use visible ASCII without spaces.`,
      );
    }
    return [{ role, hash: sha256(token) }];
  });
  if (tokens.admiral !== undefined && tokens.admiral === tokens.captain) {
    throw new AccessPolicyError('The Admiral and the Captain have the same token. Give each their own.');
  }
  if (given.length === 0 && !isLoopback(host)) {
    throw new AccessPolicyError(
      `HXO listens on ${host}, which other machines can reach, but has no tokens. ` +
        'Set HXO_ADMIRAL_TOKEN or HXO_ADMIRAL_TOKEN_FILE, or listen on 127.0.0.1.',
    );
  }
  return { form: given.length === 0 ? 'development' : 'tokens', tokens: given, allow_captain_view };
}

/** True for a host that only this machine can reach: `localhost`, 127.0.0.0/8, `::1` (in brackets, too). */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  return ['localhost', '::1', '[::1]'].includes(name) || (isIPv4(name) && name.startsWith('127.'));
}

export type Authentication =
  { readonly ok: true; readonly role: Role } | { readonly ok: false; readonly reason: string };

/**
 * Who a request is from, by its `Authorization` header (RFC 9110, 11.6.2). `rawHeaders` are name and value in turn, as
 * Node received them: its parsed headers hide a second `Authorization`.
 */
export function authenticate(rawHeaders: readonly string[], policy: AccessPolicy): Authentication {
  const credentials = rawHeaders.filter(
    (_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization',
  );
  const [credential] = credentials;
  if (credential === undefined) {
    return policy.form === 'development'
      ? { ok: true, role: 'anonymous' }
      : { ok: false, reason: 'This server wants a token: send "Authorization: Bearer <token>".' };
  }
  if (credentials.length > 1) {
    return { ok: false, reason: 'The request has more than one Authorization header. Send one.' };
  }
  const role = policy.form === 'development' ? bareRole(credential) : tokenRole(credential, policy);
  return role === null ? { ok: false, reason: howToAuthenticate(policy) } : { ok: true, role };
}

/** The value of `WWW-Authenticate` that goes with a 401. */
export function challenge(policy: AccessPolicy): string {
  return policy.form === 'development' ? 'Admiral realm="hxo", Captain realm="hxo"' : 'Bearer realm="hxo"';
}

function howToAuthenticate(policy: AccessPolicy): string {
  return policy.form === 'development'
    ? 'The Authorization header names no role. Send "Authorization: Admiral" or "Authorization: Captain".'
    : 'The credential is not one of this server. Send "Authorization: Bearer <token>" with a valid token.';
}

function bareRole(credential: string): NamedRole | null {
  const name = credential.trim().toLowerCase();
  return name === 'admiral' || name === 'captain' ? name : null;
}

/** `Bearer <token>`, or the role in the place of the scheme; the token must then be that role's. */
function tokenRole(credential: string, policy: AccessPolicy): NamedRole | null {
  const [, scheme, token] = /^([A-Za-z]+) +([\x21-\x7e]+)$/.exec(credential.trim()) ?? [];
  if (scheme === undefined || token === undefined) return null;
  const hash = sha256(token);
  // Every token is compared, whichever matches, so that the time taken tells nothing.
  const matching = policy.tokens.filter((known) => timingSafeEqual(known.hash, hash));
  const role = matching[0]?.role ?? null;
  return scheme.toLowerCase() === 'bearer' || scheme.toLowerCase() === role ? role : null;
}

function sha256(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
