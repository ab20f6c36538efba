import { can, capabilities, mayCall, type Need, type Role } from './access.js';

describe('can', () => {
  it.each([
    ['hxo:plan', true, false],
    ['hxo:submit', true, false],
    ['hxo:abort', true, false],
    ['hxo:replay', true, false],
    ['hxo:view', true, true],
    ['hxo:audit', true, true],
  ] as const)('%s: admiral %s, captain %s, anonymous never', (capability, admiral, captain) => {
    const policy = { allow_captain_view: true };
    expect(can('admiral', capability, policy)).toBe(admiral);
    expect(can('captain', capability, policy)).toBe(captain);
    expect(can('anonymous', capability, policy)).toBe(false);
  });

  it('takes nothing but hxo:view from the captain when captains may not view', () => {
    for (const capability of capabilities) {
      const before = can('captain', capability, { allow_captain_view: true });
      const after = can('captain', capability, { allow_captain_view: false });
      expect([capability, after]).toEqual([capability, capability === 'hxo:view' ? false : before]);
      expect(can('admiral', capability, { allow_captain_view: false })).toBe(true);
    }
  });
});

describe('mayCall', () => {
  it.each<[Need, boolean, readonly Role[]]>([
    ['public', false, ['admiral', 'captain', 'anonymous']],
    ['anyone', true, ['admiral', 'captain', 'anonymous']],
    ['anyone', false, ['admiral']],
    ['hxo:view', true, ['admiral', 'captain']],
    ['hxo:view', false, ['admiral']],
    ['hxo:abort', true, ['admiral']],
  ])('%s with allow_captain_view %s is for %j', (need, allow_captain_view, roles) => {
    const all: Role[] = ['admiral', 'captain', 'anonymous'];
    expect(all.filter((role) => mayCall(role, need, { allow_captain_view }))).toEqual(roles);
  });
});
