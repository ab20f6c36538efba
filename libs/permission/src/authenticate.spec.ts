import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { AccessPolicyError, accessPolicy, authenticate, isLoopback } from './authenticate.js';

const open = { host: '127.0.0.1', tokens: {}, allow_captain_view: true };
const development = accessPolicy(open);
const admiral = 'a'.repeat(43);
const captain = 'c'.repeat(43);
const tokens = accessPolicy({ ...open, host: '0.0.0.0', tokens: { admiral, captain } });

const role = (policy: typeof tokens, ...values: string[]) => {
  const caller = authenticate(['Host', 'x', ...values.flatMap((value) => ['aUthorization', value])], policy);
  return caller.ok ? caller.role : 'refused';
};

describe('accessPolicy', () => {
  it('is the development form on loopback without tokens', () => {
    for (const host of ['127.0.0.1', '127.8.8.8', 'localhost', '::1']) {
      expect(accessPolicy({ ...open, host }).form).toBe('development');
    }
  });

  it('refuses to listen for other machines without tokens, naming the variable', () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.4', 'example.org', '127.evil.org']) {
      expect(() => accessPolicy({ ...open, host })).toThrow(AccessPolicyError);
      expect(() => accessPolicy({ ...open, host })).toThrow(/HXO_ADMIRAL_TOKEN/);
    }
  });

  it('asks for tokens on loopback too, once there are some', () => {
    const policy = accessPolicy({ ...open, tokens: { admiral } });
    expect([role(policy, 'Admiral'), role(policy), role(policy, `Bearer ${admiral}`)]).toEqual([
      'refused',
      'refused',
      'admiral',
    ]);
  });

  it('refuses tokens that cannot work', () => {
    expect(() => accessPolicy({ ...open, tokens: { admiral: '' } })).toThrow(AccessPolicyError);
    expect(() => accessPolicy({ ...open, tokens: { captain: 'two words' } })).toThrow(/captain token/);
    expect(() => accessPolicy({ ...open, tokens: { admiral, captain: admiral } })).toThrow(/same token/);
  });

  it('keeps no token', () => {
    expect(JSON.stringify(tokens)).not.toContain(admiral);
  });
});

describe('authenticate, development form', () => {
  it.each([
    ['Admiral', 'admiral'],
    ['aDMIRAL', 'admiral'],
    [' captain ', 'captain'],
    ['Bearer Admiral', 'refused'],
    ['Admiral secret', 'refused'],
    ['anonymous', 'refused'],
    ['Basic YWRtaXJhbDo=', 'refused'],
    ['', 'refused'],
  ])('%j is %s', (header, expected) => expect(role(development, header)).toBe(expected));

  it('takes a missing header for an anonymous caller, and two for none', () => {
    expect(role(development)).toBe('anonymous');
    expect(role(development, 'Admiral', 'Admiral')).toBe('refused');
  });
});

describe('authenticate, tokens', () => {
  it.each([
    [`Bearer ${admiral}`, 'admiral'],
    [`bearer  ${captain}`, 'captain'],
    [`Admiral ${admiral}`, 'admiral'],
    [`Captain ${captain}`, 'captain'],
    [`Admiral ${captain}`, 'refused'],
    [`Captain ${admiral}`, 'refused'],
    ['Admiral', 'refused'],
    ['Bearer', 'refused'],
    [`Bearer ${admiral}x`, 'refused'],
    [`Bearer ${admiral} ${admiral}`, 'refused'],
    [`Basic ${admiral}`, 'refused'],
    [admiral, 'refused'],
  ])('%j is %s', (header, expected) => expect(role(tokens, header)).toBe(expected));

  it('refuses a missing header and a second one', () => {
    expect(role(tokens)).toBe('refused');
    expect(role(tokens, `Bearer ${admiral}`, `Bearer ${admiral}`)).toBe('refused');
  });

  it('lets no other text in', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        fc.pre(!text.includes(admiral) && !text.includes(captain));
        return role(tokens, text) === 'refused' && role(tokens, `Bearer ${text}`) === 'refused';
      }),
    );
  });
});

describe('isLoopback', () => {
  it('knows addresses of this machine from names that look like them', () => {
    // IsLoopbackHost, in the settings, has the same vectors: the two answer alike.
    const { loopback, others } = JSON.parse(
      readFileSync(new URL('../../../test/vectors/loopback.json', import.meta.url), 'utf8'),
    ) as Record<'loopback' | 'others', string[]>;
    expect([loopback.length, others.length]).toEqual([6, 8]);
    expect(loopback.filter((host) => !isLoopback(host))).toEqual([]);
    expect(others.filter(isLoopback)).toEqual([]);
  });
});
