import { IsIn, IsString, Length, Matches, Validate, ValidatorConstraint } from 'class-validator';
import type { ValidatorConstraintInterface } from 'class-validator';
import { isTopic, topics } from '#genesis';
import { plan_phases, shard_phases, type PageQuery } from '#hxo';
import { MayBeAbsent } from './validated.pipe.js';

const limit = /^(?:[1-9]\d{0,2}|1000)$/;
const limit_message = { message: 'must be a whole number from 1 to 1000' };

/** Queries are texts; a parameter that is given twice arrives as a list, and is refused as no text. */
export class PageQueryDto {
  @MayBeAbsent() @Length(1, 1000) @IsString() cursor?: string;
  @MayBeAbsent() @Matches(limit, limit_message) limit?: string;
}

export class PlansQueryDto extends PageQueryDto {
  @MayBeAbsent() @IsIn(plan_phases) phase?: string;
  @MayBeAbsent() @Length(1, 200) @IsString() name?: string;
}

export class ShardsQueryDto extends PageQueryDto {
  @MayBeAbsent() @Length(1, 64) @IsString() stage?: string;
  @MayBeAbsent() @IsIn(shard_phases) phase?: string;
}

export class SearchQueryDto {
  /** A query of many words costs as many searches. */
  @Length(1, 200) @IsString() q!: string;
  @MayBeAbsent()
  @Matches(/^(?:[1-9]\d?|100)$/, { message: 'must be a whole number from 1 to 100' })
  limit?: string;
  @MayBeAbsent() @Length(1, 100) @IsString() plan_id?: string;
  @MayBeAbsent() @Length(1, 64) @IsString() stage?: string;
}

/** A topic that never comes would otherwise look like one that has not come yet. */
@ValidatorConstraint()
class KnownTopic implements ValidatorConstraintInterface {
  validate(value: unknown): boolean {
    if (typeof value !== 'string') return false;
    const prefix = value.endsWith('*') ? value.slice(0, -1) : null;
    return prefix === null ? isTopic(value) : Object.keys(topics).some((topic) => topic.startsWith(prefix));
  }

  defaultMessage(): string {
    return `must be one of ${Object.keys(topics).join(', ')}, or a beginning of one followed by *`;
  }
}

export class EventsQueryDto {
  @MayBeAbsent() @Validate(KnownTopic) topic?: string;
  @MayBeAbsent() @Length(1, 100) @IsString() plan_id?: string;
  @MayBeAbsent()
  @Matches(/^\d{1,18}$/, { message: 'must be the id of an event, a whole number' })
  after?: string;
  @MayBeAbsent() @Matches(limit, limit_message) limit?: string;
}

/** The limit of a query as the number that it spells. */
export function withLimit<Q extends { readonly limit?: string }>(
  query: Q,
): Omit<Q, 'limit'> & Pick<PageQuery, 'limit'> {
  const { limit: text, ...rest } = query;
  return text === undefined ? rest : { ...rest, limit: Number(text) };
}
