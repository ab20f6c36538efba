/** Who asks. `anonymous` is a caller without credentials, which only the development form knows. */
export type Role = 'admiral' | 'captain' | 'anonymous';

/** What a role may do. The six capabilities of the contract. */
export const capabilities = [
  'hxo:plan',
  'hxo:submit',
  'hxo:abort',
  'hxo:replay',
  'hxo:view',
  'hxo:audit',
] as const;
export type Capability = (typeof capabilities)[number];

/**
 * What a route asks of its caller: a capability; `anyone` for every caller that the way of authentication knows;
 * `public` for routes that are not guarded at all (health probes carry no credentials).
 */
export type Need = Capability | 'anyone' | 'public';

export interface ViewPolicy {
  /** HXO_ALLOW_CAPTAIN_VIEW: false makes the *any* and *view* routes the Admiral's. */
  readonly allow_captain_view: boolean;
}

/** May the role do this? */
export function can(role: Role, capability: Capability, policy: ViewPolicy): boolean {
  if (role === 'admiral') return true;
  if (role === 'anonymous') return false;
  switch (capability) {
    case 'hxo:view':
      return policy.allow_captain_view;
    case 'hxo:audit':
      return true;
    case 'hxo:plan':
    case 'hxo:submit':
    case 'hxo:abort':
    case 'hxo:replay':
      return false;
  }
}

/** May the role call a route with this need? A caller without credentials is `anonymous` only where that is a role. */
export function mayCall(role: Role, need: Need, policy: ViewPolicy): boolean {
  if (need === 'public') return true;
  if (need === 'anyone') return policy.allow_captain_view || role === 'admiral';
  return can(role, need, policy);
}
