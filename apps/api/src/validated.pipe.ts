import { type PipeTransform } from '@nestjs/common';
import { plainToInstance, type ClassConstructor } from 'class-transformer';
import { validate, ValidateIf, type ValidationError } from 'class-validator';
import { HxoError, type FieldError } from '#hxo';
import type { Json } from '#truth';

/** Errors told at once; whoever mends these sends the rest again. */
const errors_max = 100;

/** The field may be left out. Unlike class-validator's IsOptional it may not be null. */
export const MayBeAbsent = (): PropertyDecorator => ValidateIf((_, value) => value !== undefined);

/**
 * Checks a body or a query against a DTO and hands on the plain value as it was sent, which the DTO then describes.
 * Throws HxoError with an error for each wrong field.
 */
export class Validated<T extends object> implements PipeTransform<unknown, Promise<T & Json>> {
  constructor(
    private readonly dto: ClassConstructor<T>,
    private readonly code: 'INVALID_PLAN' | 'INVALID_QUERY',
  ) {}

  async transform(value: unknown): Promise<T & Json> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new HxoError(this.code, 'The body must be a JSON object.', [
        { field: '', message: 'must be a JSON object' },
      ]);
    }
    const errors = [...suspectFields(value), ...fieldErrors(await this.check(value), '')].slice(
      0,
      errors_max,
    );
    if (errors.length > 0) {
      const what = this.code === 'INVALID_PLAN' ? 'The body' : 'The query';
      const [first] = errors;
      throw new HxoError(this.code, `${what} is not valid: ${first?.field} ${first?.message}.`, errors);
    }
    return value as T & Json;
  }

  private check(value: object): Promise<ValidationError[]> {
    return validate(plainToInstance(this.dto, value), {
      whitelist: true,
      forbidNonWhitelisted: true,
      forbidUnknownValues: true,
      stopAtFirstError: true,
      validationError: { target: false, value: true },
    });
  }
}

/** Query strings come past the strict JSON reader, so what it refuses is refused here. */
function suspectFields(value: object): FieldError[] {
  return Object.entries(value).flatMap(([field, content]) => {
    if (['__proto__', 'constructor', 'prototype'].includes(field))
      return [{ field, message: 'is not known' }];
    const fault = typeof content === 'string' && (content.includes('\0') || !content.isWellFormed());
    return fault ? [{ field, message: 'holds a NUL character or half a character' }] : [];
  });
}

/** class-validator's tree of errors as a list, fields dotted: `stages[1].retry.backoff_ms`. */
function fieldErrors(errors: readonly ValidationError[], parent: string): FieldError[] {
  return errors.flatMap((error) => {
    const field = fieldName(parent, error.property);
    const own = Object.entries(error.constraints ?? {}).map(([constraint, message]) => ({
      field,
      message: messageOf(constraint, message, error),
    }));
    return [...own, ...fieldErrors(error.children ?? [], field)];
  });
}

function fieldName(parent: string, property: string): string {
  const name = property.slice(0, 200);
  if (parent === '') return name;
  return /^\d+$/.test(name) ? `${parent}[${name}]` : `${parent}.${name}`;
}

function messageOf(constraint: string, message: string, { property, value }: ValidationError): string {
  if (constraint === 'whitelistValidation') return 'is not known';
  return value === undefined ? 'is missing' : withoutName(message, property);
}

/** class-validator begins its messages with the property; the field stands beside them already. */
function withoutName(message: string, property: string): string {
  return message.startsWith(`${property} `) ? message.slice(property.length + 1) : message;
}
