import { isIP } from 'node:net';

/** One entry of HXO_PRIME_ALLOWED_HOSTS. */
export interface AllowedHost {
  /** As WHATWG URLs spell it: lower case, punycode, IPv4 in dotted decimals, IPv6 without brackets. */
  readonly host: string;
  /** Leading bits that count, of an entry such as `10.0.0.0/8`; null for a single host. */
  readonly prefix_bits: number | null;
  /** Null is every port. */
  readonly port: number | null;
}

/** What an entry may look like, for messages. */
export const allowed_host_forms = 'app.example.com, localhost:3000, 10.0.0.5, 10.0.0.0/8, [fd00::1]:8080';

/** Reads `host`, `host:port`, `address`, `address:port` or `network/bits`; null when it is none of these. */
export function parseAllowedHost(entry: string): AllowedHost | null {
  const network = /^([0-9a-f:.]+)\/(\d{1,3})$/i.exec(entry);
  if (network !== null) return networkOf(network[1]!, Number(network[2]));
  if (isIP(entry) === 6) return hostOf(`[${entry}]`, null);
  const [, host, port] = /^(\[[0-9a-f:.]+\]|[^\s:/?#@[\]\\*%]+)(?::(\d{1,5}))?$/i.exec(entry) ?? [];
  if (host === undefined || Number(port ?? 1) < 1 || Number(port ?? 1) > 65_535) return null;
  return hostOf(host, port === undefined ? null : Number(port));
}

function networkOf(address: string, prefix_bits: number): AllowedHost | null {
  const family = isIP(address);
  if (family === 0 || prefix_bits > (family === 4 ? 32 : 128)) return null;
  const network = hostOf(family === 6 ? `[${address}]` : address, null);
  return network === null ? null : { ...network, prefix_bits };
}

/** Spelt as the URL parser spells it, so that entry and URL compare as texts. */
function hostOf(host: string, port: number | null): AllowedHost | null {
  if (!URL.canParse(`http://${host}/`)) return null;
  const { hostname } = new URL(`http://${host}/`);
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), prefix_bits: null, port };
}
