import { HttpRefused } from '#hxo/execute';
import type { HostRules } from './host-rules.js';

const url_chars_max = 8_192;
const shown_chars_max = 200;

/**
 * A URL that may be asked, as far as its text can tell.
 *
 * The URL parser (WHATWG) has normalised it: every spelling of an IPv4 address (decimal, hexadecimal, octal, short) is
 * dotted decimals by now, and full-width letters and escapes are what they stand for.
 *
 * @param base the URL that redirected here, or null
 * @throws HttpRefused
 */
export function checkedUrl(text: string, base: URL | null, rules: HostRules): URL {
  if (text.length > url_chars_max) throw notAllowed(text, `it is longer than ${url_chars_max} characters`);
  if (!URL.canParse(text, base?.href)) throw notAllowed(text, 'it is no URL');
  const url = new URL(text, base?.href);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw notAllowed(text, 'only http and https are spoken');
  if (url.username !== '' || url.password !== '') throw notAllowed(text, 'it carries credentials');
  if (!rules.allowsHost(hostOf(url), portOf(url))) {
    const from = base === null ? '' : `, where ${shown(base.href)} redirects to,`;
    throw new HttpRefused(
      'HOST_NOT_ALLOWED',
      `${shown(url.host)}${from} is not a host that may be asked. If it is meant, add it to HXO_PRIME_ALLOWED_HOSTS, for the API and every worker.`,
    );
  }
  return url;
}

/** Its host without the brackets of IPv6. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

export function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : 80;
}

/** A URL for messages: bounded, and without what may be secret in it. */
export function shown(text: string): string {
  const bare = text.replace(/\/\/[^/?#]*@/, '//…@').replace(/[?#].*$/s, '?…');
  return bare.length > shown_chars_max ? `${bare.slice(0, shown_chars_max)}…` : bare;
}

function notAllowed(text: string, why: string): HttpRefused {
  return new HttpRefused('URL_NOT_ALLOWED', `${shown(text)} is not asked: ${why}.`);
}
