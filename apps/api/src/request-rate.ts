import { isIPv4 } from 'node:net';

/** Requests that an address may send at once, and per second after that: more than a client that awaits its answers sends. */
export const burst_requests = 1_000;
export const requests_per_s = 500;
/** Addresses remembered: enough for every client of a server, and not for every address that an attacker can take. */
const addresses_max = 10_000;

interface Bucket {
  /** Requests that may be sent now, a fraction of the next one included. */
  readonly tokens: number;
  readonly at_ms: number;
}

/** A token bucket for every address, so that one client that floods the server takes nothing from the others. */
export class RequestRate {
  /** By address, the one asked for last at the end. */
  private readonly buckets = new Map<string, Bucket>();

  /**
   * Takes a request of an address at a time in monotonic milliseconds.
   * @returns 0 when it may pass, otherwise the whole seconds after which the next one may
   */
  take(address: string, now_ms: number): number {
    const key = clientOf(address);
    const { tokens: left, at_ms } = this.buckets.get(key) ?? { tokens: burst_requests, at_ms: now_ms };
    const tokens = Math.min(burst_requests, left + ((now_ms - at_ms) / 1000) * requests_per_s);
    const passes = tokens >= 1;
    this.buckets.delete(key);
    this.buckets.set(key, { tokens: passes ? tokens - 1 : tokens, at_ms: now_ms });
    if (this.buckets.size > addresses_max) this.buckets.delete(this.buckets.keys().next().value!);
    return passes ? 0 : Math.ceil((1 - tokens) / requests_per_s);
  }
}

/** An IPv4 address itself; of an IPv6 address the first 64 bits, for whoever has one has all of its network (RFC 6177). */
function clientOf(address: string): string {
  const mapped = address.replace(/^::ffff:/i, '');
  if (isIPv4(mapped)) return mapped;
  const [left = [], right = []] = address.split('::').map((part) => (part === '' ? [] : part.split(':')));
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  return [...left, ...zeros, ...right].slice(0, 4).join(':');
}
