import { can, type Capability } from '#permission';
import { HxoError } from '../errors.js';
import type { Actor } from '../hxo.js';

/** Asks whether an actor may do what it asks for: the same table for HTTP and for programs that embed HXO. */
export class PermissionLink {
  constructor(private readonly policy: { readonly allow_captain_view: boolean }) {}

  /** Throws HxoError FORBIDDEN. */
  assertMay(actor: Actor, capability: Capability): void {
    const { role } = actor;
    if (role === 'hxo' || can(role, capability, this.policy)) return;
    throw new HxoError('FORBIDDEN', `A caller of role ${role} may not ${capability}.`);
  }
}
