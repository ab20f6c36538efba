import {
  Inject,
  Injectable,
  Logger,
  SetMetadata,
  type CanActivate,
  type CustomDecorator,
  type ExecutionContext,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { mayCall, type Capability, type Need, type Role } from './access.js';
import { authenticate, challenge, type AccessPolicy } from './authenticate.js';
import { AccessDenied, DenialRecorder } from './denial.js';

/** Injection token of the {@link AccessPolicy}. */
export const ACCESS_POLICY = 'hxo:access-policy';

/** Metadata key under which a handler carries its {@link Need}. */
export const NEED = 'hxo:need';

/** The route asks for a capability. */
export const Needs = (capability: Capability): CustomDecorator => SetMetadata(NEED, capability);
/** The route is for any caller: none at all in the development form, any valid token otherwise. */
export const Anyone = (): CustomDecorator => SetMetadata(NEED, 'anyone' satisfies Need);
/** The route is not guarded: for probes, which carry no credentials. */
export const Public = (): CustomDecorator => SetMetadata(NEED, 'public' satisfies Need);

/** What the guard reads from a request, and the role that it leaves there. */
export interface GuardedRequest {
  readonly method: string;
  readonly originalUrl: string;
  readonly rawHeaders: readonly string[];
  readonly route?: { readonly path: string };
  role?: Role;
}

/** Lets a request through when its caller may do what the route needs. A route that declares no need is refused. */
@Injectable()
export class PermissionGuard implements CanActivate {
  private readonly logger = new Logger('Permission');

  constructor(
    @Inject(ACCESS_POLICY) private readonly policy: AccessPolicy,
    private readonly recorder: DenialRecorder,
    private readonly reflector: Reflector,
  ) {}

  async canActivate(context: ExecutionContext): Promise<true> {
    const need = this.reflector.get<Need | undefined>(NEED, context.getHandler());
    const request = context.switchToHttp().getRequest<GuardedRequest>();
    await this.admit(request, need);
    return true;
  }

  /** Admits a request and notes its role on it. Throws {@link AccessDenied}, after the denial is recorded. */
  async admit(request: GuardedRequest, need: Need | undefined): Promise<Role> {
    if (need === 'public') return (request.role = 'anonymous');
    const caller = authenticate(request.rawHeaders, this.policy);
    if (!caller.ok) return this.deny(request, 'anonymous', 'UNAUTHENTICATED', caller.reason);
    const { role } = caller;
    if (need === undefined) return this.deny(request, role, 'FORBIDDEN', 'The route declares no permission.');
    if (!mayCall(role, need, this.policy)) {
      return role === 'anonymous'
        ? this.deny(request, role, 'UNAUTHENTICATED', 'This needs a role: send "Authorization: Admiral".')
        : this.deny(request, role, 'FORBIDDEN', `The role ${role} may not do this${neededBy(need)}.`);
    }
    return (request.role = role);
  }

  /** Does the caller of an admitted request also have this capability? For answers that show some callers less. */
  has(request: GuardedRequest, capability: Capability): boolean {
    return request.role !== undefined && mayCall(request.role, capability, this.policy);
  }

  private async deny(
    request: GuardedRequest,
    role: Role,
    code: AccessDenied['code'],
    reason: string,
  ): Promise<never> {
    const route = request.route?.path ?? request.originalUrl.split('?', 1)[0] ?? '/';
    try {
      await this.recorder.recordDenial({ role, method: request.method, route, reason });
    } catch (error) {
      this.logger.error(`[HXO] A denial could not be audited: ${String(error)}`);
    }
    throw new AccessDenied(code, reason, challenge(this.policy));
  }
}

function neededBy(need: Need): string {
  return need === 'anyone' ? '; HXO_ALLOW_CAPTAIN_VIEW is false' : `; it needs ${need}. Ask an Admiral`;
}
