import { HostRules, type HostRule } from './host-rules.js';
import { checkedUrl } from './urls.js';

const rule = (host: string, port: number | null = null, prefix_bits: number | null = null): HostRule => ({
  ...{ host, port, prefix_bits },
});
const listed = new HostRules([rule('app.example.com'), rule('localhost', 3000)]);

/** What must not be reached by naming it, nor by a name that leads to it. */
const inward = [
  '127.0.0.1',
  '127.255.255.254',
  '0.0.0.0',
  '0.1.2.3',
  '10.0.0.1',
  '172.16.0.1',
  '192.168.1.1',
  '100.64.0.1',
  '169.254.169.254',
  '192.0.0.1',
  '192.0.2.1',
  '198.18.0.1',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::127.0.0.1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::ffff:a9fe:a9fe',
  '64:ff9b::7f00:1',
  '64:ff9b::a9fe:a9fe',
  '64:ff9b:1::1',
  '100::1',
  '2001::1',
  '2001:db8::1',
  '2002:7f00:1::',
  '3fff::1',
  '4000::1',
  '5f00::1',
  'fc00::1',
  'fd12:3456::1',
  'fe80::1',
  'fe80::1%eth0',
  'fec0::1',
  'ff02::1',
  'nonsense',
];

it.each(inward)('a listed name may not lead to %s', (address) => {
  expect(listed.allowsAddress('app.example.com', address, 443)).toBe(false);
});

it.each(['93.184.216.34', '8.8.8.8', '2606:4700::1111', '::ffff:8.8.8.8'])('it may to %s', (address) => {
  expect(listed.allowsAddress('app.example.com', address, 443)).toBe(true);
});

it('localhost alone means loopback by itself', () => {
  expect(listed.allowsAddress('localhost', '127.0.0.1', 3000)).toBe(true);
  expect(listed.allowsAddress('localhost', '::1', 3000)).toBe(true);
  expect(listed.allowsAddress('localhost', '10.0.0.1', 3000)).toBe(false);
  expect(listed.allowsAddress('app.example.com', '127.0.0.1', 3000)).toBe(false);
});

it('an address, or its network, may be listed itself, with a port or without', () => {
  const rules = new HostRules([
    rule('10.0.0.0', null, 8),
    rule('fd00::', null, 8),
    rule('192.168.1.5', 8080),
    rule('127.0.0.1'),
    rule('app.internal'),
  ]);
  expect(rules.allowsAddress('app.internal', '10.200.3.4', 80)).toBe(true);
  expect(rules.allowsAddress('app.internal', '11.0.0.1', 80)).toBe(true); // Public.
  expect(rules.allowsAddress('app.internal', '192.168.1.5', 8080)).toBe(true);
  expect(rules.allowsAddress('app.internal', '192.168.1.5', 8081)).toBe(false);
  expect(rules.allowsAddress('app.internal', 'fd77::1', 80)).toBe(true);
  expect(rules.allowsAddress('app.internal', 'fe80::1', 80)).toBe(false);
  expect(rules.allowsAddress('app.internal', '::ffff:127.0.0.1', 80)).toBe(true);
  expect(rules.allowsHost('10.9.9.9', 80)).toBe(true);
  expect(rules.allowsHost('11.0.0.1', 80)).toBe(false);
  expect(rules.allowsHost('192.168.1.5', 80)).toBe(false);
});

describe('URLs', () => {
  const rules = new HostRules([rule('app.example.com'), rule('127.0.0.1', 3000)]);

  it.each([
    'http://127.0.0.1/',
    'http://127.1:80/',
    'http://2130706433/',
    'http://0x7f000001/',
    'http://0x7f.0.0.1/',
    'http://0177.0.0.1/',
    'http://017700000001/',
    'http://127.0.0.1./',
    'http://①②⑦.⓪.⓪.①/',
    'http://１２７.0.0.1/',
    'http://%31%32%37.0.0.1/',
    'http://127。0。0。1/',
    'http://0/',
    'http://[::1]/',
    'http://[0:0:0:0:0:0:0:1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::ffff:7f00:1]/',
    'http://[::127.0.0.1]/',
    'http://[64:ff9b::7f00:1]/',
    'http://[fe80::1]/',
    'http://169.254.169.254/latest/meta-data/',
    'http://2852039166/',
    'http://0xa9fea9fe/',
    'http://[::ffff:a9fe:a9fe]/',
    'http://10.0.0.1/',
    'http://8.8.8.8/',
    'http://localhost/',
    'http://LOCALHOST:3000/',
    'http://app.example.com./',
    'http://app.example.com.evil.test/',
    'http://evil.test/app.example.com',
    'http://evil.test#app.example.com',
    'http://evil.test\\@app.example.com/',
  ])('%s is refused for its host', (url) => {
    const refused = expect.objectContaining({ code: 'HOST_NOT_ALLOWED' }) as Error;
    expect(() => checkedUrl(url, null, rules)).toThrow(refused);
  });

  it.each([
    'ftp://app.example.com/',
    'file:///etc/passwd',
    'data:text/html,x',
    'gopher://app.example.com/',
    'http://user@app.example.com/',
    'http://user:secret@app.example.com/',
    'http://app.example.com@127.0.0.1/',
    'http://',
    'app.example.com',
    'http://[::1',
    `http://app.example.com/${'x'.repeat(9_000)}`,
  ])('%s is refused for its form', (url) => {
    const refused = expect.objectContaining({ code: 'URL_NOT_ALLOWED' }) as Error;
    expect(() => checkedUrl(url, null, rules)).toThrow(refused);
  });

  it.each(['http://app.example.com/', 'https://APP.example.com:8443/a?b#c', 'http://0x7f.1:3000/'])(
    '%s is taken',
    (url) => {
      expect(checkedUrl(url, null, rules).href).toBe(new URL(url).href);
    },
  );

  it('shows no secret of what it refuses', () => {
    const texts = ['http://user:geheim@evil.test/', 'ftp://evil.test/?token=geheim'].map((url) => {
      try {
        return checkedUrl(url, null, rules).href;
      } catch (error) {
        return (error as Error).message;
      }
    });
    expect(texts.join()).not.toContain('geheim');
  });
});
