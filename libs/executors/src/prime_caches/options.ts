import { choice, ConfigError, field, wholeNumber, type Json } from '#hxo/execute';

const url_chars_max = 2_048;
const statuses_max = 100;
const day_ms = 86_400_000;

/** An option's value as it travels: what a stage asked for, with defaults filled in. */
export interface PrimeOptions {
  /** Without a slash at its end; null asks for no page. */
  readonly base_url: string | null;
  readonly method: 'GET' | 'HEAD';
  readonly timeout_ms: number;
  readonly concurrency: number;
  /** Statuses, or ranges of them such as `200-399`. */
  readonly expect: readonly (number | string)[];
  readonly content_ttl_ms: number;
}

/** The fields of a stage's config that are prime_caches' own. */
export const options = {
  base_url: field<string | null>(
    null,
    {
      meaning:
        'where the routes of `by_route_map` are asked for: `https://host/path`, without credentials, query or fragment; its host must be listed in `HXO_PRIME_ALLOWED_HOSTS`',
      default_text: 'none; `by_route_map` needs one',
    },
    (value, name) => {
      const url = typeof value === 'string' && value.length <= url_chars_max ? parseBase(value) : null;
      if (url !== null) return url;
      throw new ConfigError(
        name,
        `${name} must be an http or https URL without credentials, query or fragment, such as "https://app.example.com".`,
      );
    },
  ),
  method: choice('GET', ['GET', 'HEAD'], {
    meaning: 'how routes are asked for: `GET` or `HEAD`; many caches store nothing of a `HEAD`',
  }),
  timeout_ms: wholeNumber(10_000, {
    least: 1,
    most: 600_000,
    meaning: 'time for one URL, redirects and body included; keep it below `shard_timeout_ms`',
  }),
  concurrency: wholeNumber(4, {
    least: 1,
    most: 256,
    meaning: 'requests to one origin at once, in each thread of each worker',
  }),
  expect: field<readonly (number | string)[]>(
    ['200-399'],
    { meaning: 'statuses with which a route counts as primed, as numbers or ranges: `[200, "300-399"]`' },
    (value, name) => {
      const fits = Array.isArray(value) && value.length > 0 && value.length <= statuses_max;
      if (fits && (value as readonly Json[]).every(isStatus)) return value as (number | string)[];
      throw new ConfigError(
        name,
        `${name} must be a list of 1 to ${statuses_max} statuses from 100 to 599, or ranges such as "200-399".`,
      );
    },
  ),
  content_ttl_ms: wholeNumber(7 * day_ms, {
    least: 1_000,
    most: 366 * day_ms,
    meaning: 'how long file contents stay in the cache, in milliseconds; 7 days when left out',
  }),
};

/** Is this status one that the stage expects? */
export function isExpected(expect: PrimeOptions['expect'], status: number): boolean {
  return expect.some((each) => {
    const [least, most = least] = String(each).split('-').map(Number);
    return least! <= status && status <= most!;
  });
}

function isStatus(value: Json): boolean {
  const known = (status: number): boolean => Number.isInteger(status) && status >= 100 && status <= 599;
  if (typeof value === 'number') return known(value);
  if (typeof value !== 'string' || !/^\d{3}-\d{3}$/.test(value)) return false;
  const [least, most] = value.split('-').map(Number);
  return known(least!) && known(most!) && least! <= most!;
}

/** One spelling for every way to write a base URL, so that they give one content id. Null when it is none. */
function parseBase(text: string): string | null {
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  const plain = url.username === '' && url.password === '' && !/[?#]/.test(text);
  if (!plain || (url.protocol !== 'http:' && url.protocol !== 'https:')) return null;
  return url.href.replace(/\/+$/, '');
}
