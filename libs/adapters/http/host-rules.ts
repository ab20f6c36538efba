import ipaddr from 'ipaddr.js';

/** One entry of the list of hosts that may be asked; what HXO_PRIME_ALLOWED_HOSTS is parsed to. */
export interface HostRule {
  /** A name, or an address; as WHATWG URLs spell it, IPv6 without brackets. */
  readonly host: string;
  /** Leading bits of the address that count; null for the whole. */
  readonly prefix_bits: number | null;
  /** Null is every port. */
  readonly port: number | null;
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/**
 * Who may be asked: the one place that decides it.
 *
 * A host must be listed, by name or, when the URL names an address, as that address. A listed name may lead to public
 * addresses only; to any other (private, loopback, link-local, CGNAT, multicast, unspecified, NAT64, 6to4, Teredo,
 * documentation, …) when that address is listed too. So whoever controls the name cannot turn it inwards. `localhost` is
 * the one name that may mean loopback by itself.
 */
export class HostRules {
  constructor(private readonly rules: readonly HostRule[]) {}

  /** May the host of a URL be asked? An address in it is settled here, a name needs {@link allowsAddress} as well. */
  allowsHost(host: string, port: number): boolean {
    if (isAddress(host)) return this.lists(ipaddr.process(host), port);
    return this.rules.some((rule) => rule.host === host && matchesPort(rule, port));
  }

  /** May a listed name be asked at this address, which it resolved to? */
  allowsAddress(host: string, address: string, port: number): boolean {
    if (!isAddress(address)) return false;
    const parsed = ipaddr.process(address);
    if (isPublic(parsed) || this.lists(parsed, port)) return true;
    return host === 'localhost' && parsed.range() === 'loopback';
  }

  private lists(address: Address, port: number): boolean {
    return this.rules.some((rule) => matchesPort(rule, port) && covers(rule, address));
  }
}

/** Is a host of a URL an address, rather than a name? */
export function isAddress(host: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(host) || ipaddr.IPv6.isValid(host);
}

function matchesPort(rule: HostRule, port: number): boolean {
  return rule.port === null || rule.port === port;
}

function covers({ host, prefix_bits }: HostRule, address: Address): boolean {
  if (!isAddress(host)) return false;
  // An IPv4 address inside IPv6 (::ffff:0:0/96) is the IPv4 address, in rules as in answers; a network is what it says.
  const network = prefix_bits === null ? ipaddr.process(host) : ipaddr.parse(host);
  if (network.kind() !== address.kind()) return false;
  const bits = prefix_bits ?? (network.kind() === 'ipv4' ? 32 : 128);
  return network instanceof ipaddr.IPv4
    ? (address as ipaddr.IPv4).match(network, bits)
    : (address as ipaddr.IPv6).match(network, bits);
}

/** In IPv6 only 2000::/3 is given out as global unicast (RFC 4291, IANA registry); special blocks inside it have names. */
function isPublic(address: Address): boolean {
  if (address.range() !== 'unicast') return false;
  return address instanceof ipaddr.IPv4 || (address.parts[0]! & 0xe000) === 0x2000;
}
