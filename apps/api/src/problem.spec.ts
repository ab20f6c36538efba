import { BadRequestException, InternalServerErrorException } from '@nestjs/common';
import { HxoError, RowUnreadable } from '#hxo';
import { AccessDenied } from '#permission';
import { HttpError, internalProblem, problemOf } from './problem.js';

describe('problemOf', () => {
  it('carries all members of RFC 9457, code and errors', () => {
    const errors = [{ field: 'name', message: 'is not known' }];
    expect(problemOf(new HxoError('INVALID_PLAN', 'Mend it.', errors), '/api/hxo/plan')).toEqual({
      headers: {},
      problem: {
        type: 'urn:hxo:problem:INVALID_PLAN',
        title: 'Bad Request',
        status: 400,
        detail: 'Mend it.',
        instance: '/api/hxo/plan',
        code: 'INVALID_PLAN',
        errors,
      },
    });
  });

  it('sends a 503 with Retry-After and a 401 with its challenge', () => {
    expect(problemOf(new HxoError('STORE_UNAVAILABLE', 'x'), '/')?.headers).toEqual({ 'Retry-After': '5' });
    expect(problemOf(new AccessDenied('UNAUTHENTICATED', 'x', 'Bearer'), '/')).toMatchObject({
      headers: { 'WWW-Authenticate': 'Bearer' },
      problem: { status: 401 },
    });
    expect(problemOf(new AccessDenied('FORBIDDEN', 'x', 'Bearer'), '/')?.headers).toEqual({});
    expect(problemOf(new HttpError('METHOD_NOT_ALLOWED', 'x', [], { Allow: 'GET' }), '/')).toMatchObject({
      headers: { Allow: 'GET' },
      problem: { status: 405 },
    });
  });

  it('names a row that cannot be read', () => {
    const error = new RowUnreadable('result', { stage_no: 0, ordinal: 7 }, 'lines');
    const { problem } = problemOf(error, '/')!;
    expect(problem).toMatchObject({ status: 503, code: 'STORE_UNAVAILABLE' });
    expect(problem.detail).toContain('"ordinal":7');
  });

  it('shows nothing of errors that it does not know', () => {
    expect(problemOf(new BadRequestException('at /home/x.js'), '/')?.problem.detail).not.toContain('/home');
    expect(problemOf(new InternalServerErrorException(), '/')).toBeNull();
    expect(problemOf(new Error('SELECT 1'), '/')).toBeNull();
    expect(problemOf('thrown text', '/')).toBeNull();
    expect(internalProblem('/', 'c0ffee').problem).toMatchObject({ status: 500, correlation_id: 'c0ffee' });
  });
});
