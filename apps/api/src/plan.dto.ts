import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsIn,
  IsInt,
  IsObject,
  IsString,
  Length,
  Matches,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import { MayBeAbsent } from './validated.pipe.js';

/** The longest time that a timer of Node can wait: about 24.8 days. */
const timer_max_ms = 2_147_483_647;
const stage_id = /^[A-Za-z0-9_.-]{1,64}$/;
const stage_id_message = { message: 'must be 1 to 64 letters, digits, "_", "." or "-"' };

/** Whole milliseconds, from `min` to what a timer can wait. */
function Milliseconds(min: number): PropertyDecorator {
  return all(Max(timer_max_ms), Min(min), IsInt());
}

/** A name that the blueprint knows or refuses. */
function Name(): PropertyDecorator {
  return all(Length(1, 100), IsText());
}

function IsText(): PropertyDecorator {
  return IsString({ message: 'must be a text' });
}

function IsList(): PropertyDecorator {
  return IsArray({ message: 'must be a list' });
}

/** Several decorators as if they stood here in this order: the last is applied first. */
function all(...decorators: readonly PropertyDecorator[]): PropertyDecorator {
  return (target, property) => [...decorators].reverse().forEach((decorate) => decorate(target, property));
}

// One fault of a field is told, that of the decorator that is applied first: the type stands last, for of a value of another
// type nothing else is worth telling.

export class RetryDto {
  @MayBeAbsent() @Max(100) @Min(1) @IsInt() max_failures?: number;
  @MayBeAbsent() @Milliseconds(0) backoff_ms?: number;
  @MayBeAbsent() @Milliseconds(0) backoff_max_ms?: number;
}

export class StageDto {
  @Matches(stage_id, stage_id_message) @IsText() id!: string;
  @Name() kind!: string;
  @MayBeAbsent() @Milliseconds(1) slo_ms?: number;
  @MayBeAbsent() @Name() partitioner?: string;
  @MayBeAbsent() @Name() executor?: string;
  @MayBeAbsent() @Name() scheduler?: string;
  /** What it may hold is for the stage's partitioner to say. */
  @MayBeAbsent() @IsObject() config?: Record<string, unknown>;
  @MayBeAbsent()
  @Matches(stage_id, { each: true, message: 'must be a list of stage ids' })
  @ArrayMaxSize(1000)
  @IsList()
  dependencies?: string[];
  @MayBeAbsent() @IsIn(['continue', 'halt_stage', 'halt_plan']) failure_policy?: string;
  /** 0 switches the limit off. */
  @MayBeAbsent() @Milliseconds(0) shard_timeout_ms?: number;
  @MayBeAbsent() @IsObject() @ValidateNested() @Type(() => RetryDto) retry?: RetryDto;
}

export class ConstraintsDto {
  @MayBeAbsent() @Max(1_000_000_000) @Min(1) @IsInt() max_shards?: number;
  @MayBeAbsent() @Milliseconds(1) timebox_ms?: number;
}

/** A plan as it is sent. Its shape only: kinds, partitioners and the graph of stages are the blueprint's to judge. */
export class PlanDto {
  @Length(1, 200) @IsText() name!: string;

  // ValidateNested lets null and lists through as elements.
  @IsObject({ each: true, message: 'must be a list of objects' })
  @ArrayMinSize(1)
  @ArrayMaxSize(1000)
  @IsList()
  @ValidateNested({ each: true })
  @Type(() => StageDto)
  stages!: StageDto[];

  @MayBeAbsent() @IsObject() @ValidateNested() @Type(() => ConstraintsDto) constraints?: ConstraintsDto;
}

/** The body of POST /api/hxo/submit. */
export class SubmitDto {
  @Length(1, 100) @IsText() plan_id!: string;
}
