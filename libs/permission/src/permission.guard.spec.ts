import { Logger, type ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { accessPolicy } from './authenticate.js';
import { AccessDenied, DenialRecorder, type Denial } from './denial.js';
import { Anyone, Needs, PermissionGuard, Public, type GuardedRequest } from './permission.guard.js';

class Denials extends DenialRecorder {
  readonly recorded: Denial[] = [];
  broken = false;
  override async recordDenial(denial: Denial): Promise<void> {
    if (this.broken) throw new Error('The store is locked.');
    this.recorded.push(denial);
  }
}

class Routes {
  @Needs('hxo:abort') abort(this: void): void {}
  @Anyone() status(this: void): void {}
  @Public() live(this: void): void {}
  forgotten(this: void): void {}
}

const routes = new Routes();
const denials = new Denials();
const policy = accessPolicy({ host: '127.0.0.1', tokens: {}, allow_captain_view: true });
const guard = new PermissionGuard(policy, denials, new Reflector());

function call(
  name: keyof Routes,
  ...authorization: string[]
): { request: GuardedRequest; answer: Promise<true> } {
  const request: GuardedRequest = {
    method: 'GET',
    originalUrl: `/${name}?secret=1`,
    rawHeaders: authorization.flatMap((value) => ['Authorization', value]),
  };
  const context = {
    getHandler: () => routes[name],
    switchToHttp: () => ({ getRequest: () => request }),
  } as unknown as ExecutionContext;
  return { request, answer: guard.canActivate(context) };
}

describe('PermissionGuard', () => {
  beforeAll(() => void Logger.overrideLogger(false));
  afterAll(() => void Logger.overrideLogger(['log', 'error', 'warn']));
  beforeEach(() => void (denials.recorded.length = 0));

  it('admits who may, and notes the role on the request', async () => {
    const { request, answer } = call('abort', 'admiral');
    expect([await answer, request.role]).toEqual([true, 'admiral']);
    const anonymous = call('status');
    expect([await anonymous.answer, anonymous.request.role]).toEqual([true, 'anonymous']);
    expect(await call('live', 'Bearer nonsense').answer).toBe(true);
    expect(denials.recorded).toEqual([]);
  });

  it('refuses a route that declares nothing, even to the Admiral', async () => {
    await expect(call('forgotten', 'Admiral').answer).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });

  it('refuses and records who may not', async () => {
    const { request, answer } = call('abort', 'Captain');
    await expect(answer).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(request.role).toBeUndefined();
    expect(denials.recorded).toMatchObject([{ role: 'captain', method: 'GET', route: '/abort' }]);
    await expect(call('abort').answer).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    await expect(call('status', 'Basic x').answer).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  it('refuses all the same when the denial cannot be recorded', async () => {
    denials.broken = true;
    await expect(call('abort').answer).rejects.toBeInstanceOf(AccessDenied);
    denials.broken = false;
  });
});
