import { isLoopback } from '#permission';

/** Longest request target taken, in characters. */
export const uri_length_max = 8_000;

/**
 * What is wrong with a request's path, or null. Refused, not repaired: whatever two readers of a path could understand
 * differently (empty and dot segments, encoded slashes, control characters, broken escapes).
 */
export function pathFault(path: string): string | null {
  if (!path.startsWith('/')) return 'The request target is not a path. Send one that begins with "/".';
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    return 'The path has a "%" that begins no UTF-8 escape. Write it as %25.';
  }
  if (/%(?:2f|5c)/i.test(path) || path.includes('\\')) return 'The path has an encoded slash or a backslash.';
  if (path.includes('//')) return 'The path has an empty segment. Remove the second "/".';
  if (decoded.split('/').some((segment) => segment === '.' || segment === '..')) {
    return 'The path has a "." or ".." segment. Send the path that it stands for.';
  }
  return [...decoded].some((character) => character < ' ' || character === '\x7f')
    ? 'The path has a control character.'
    : null;
}

/**
 * Is the request meant for this server? Asked of a server on loopback only: a web page whose name was rebound to
 * 127.0.0.1 reaches it, but its browser still sends the page's name as Host and Origin.
 */
export function isForThisHost(rawHeaders: readonly string[], host: string): boolean {
  const values = (name: string): string[] =>
    rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === name);
  const [named, ...more] = values('host');
  if (named === undefined || more.length > 0 || !isOwnName(hostName(`http://${named}`, named), host))
    return false;
  return values('origin').every((origin) =>
    isOwnName(hostName(origin, origin.replace(/^https?:\/\//, '')), host),
  );
}

/** The host name of a URL that is nothing but `scheme://authority`, or null. */
function hostName(url: string, authority: string): string | null {
  if (!/^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/.test(authority)) return null;
  return URL.canParse(url) ? new URL(url).hostname : null;
}

function isOwnName(name: string | null, host: string): boolean {
  return name !== null && (isLoopback(name) || name === host.toLowerCase());
}
