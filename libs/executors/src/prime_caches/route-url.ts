import { FailShard } from '#hxo/execute';

/**
 * The URL of a route under a base URL. A route is a path with an optional query, and stays below the base, however a
 * URL parser or a server may read it.
 *
 * Throws {@link FailShard} `ROUTE_NOT_ALLOWED`.
 */
export function routeUrl(base_url: string, route: string): string {
  const [path = ''] = route.split(/[?#]/, 1);
  const fault = faultOf(path);
  if (fault !== null) throw notAllowed(route, fault);
  // A base without a path ends in its host: the route's slash must follow, whatever the route is.
  const url = new URL(base_url + route);
  const base = new URL(base_url);
  const folder = base.pathname.replace(/\/$/, '');
  // The URL parser has the last word: what it makes of a route counts, whatever was expected of it.
  const inside = url.pathname === folder || url.pathname.startsWith(`${folder}/`);
  if (url.origin !== base.origin || !inside) throw notAllowed(route, `it leaves ${base_url}`);
  url.hash = '';
  return url.href;
}

function faultOf(path: string): string | null {
  if (!path.startsWith('/')) return 'it does not begin with "/"';
  if (path.startsWith('//') || path.includes('\\')) return 'it could name another host';
  if (/%(?:2f|5c)/i.test(path)) return 'it has an encoded slash or backslash';
  // URL parsers drop tabs and line breaks wherever they are, and what is left may be a segment of dots.
  if (/\p{Cc}/u.test(path)) return 'it has a control character';
  // Some servers cut a segment's parameters off, from its first semicolon on, before they resolve dots (RFC 3986, 3.3).
  const dots = /^(?:\.|%2e){1,2}(?:;|%3b|$)/i;
  return path.split('/').some((segment) => dots.test(segment)) ? 'it has a "." or ".." segment' : null;
}

function notAllowed(route: string, why: string): FailShard {
  const shown = JSON.stringify(route.slice(0, 200));
  return new FailShard('ROUTE_NOT_ALLOWED', `Route ${shown} is not asked for: ${why}. Mend routes or urls.`);
}
