import { Column, Entity, Index, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';

/**
 * The tables of the checkpoint store. Hot tables carry integer keys, and digests as 32 raw bytes. The schema itself is
 * made by the migrations; a spec holds the two together.
 */

@Entity('plan')
export class PlanEntity {
  @PrimaryGeneratedColumn() plan_no!: number;
  @Index('plan_id', { unique: true }) @Column('text') plan_id!: string;
  @Index('plan_name') @Column('text') name!: string;
  /** Canonical JSON of the PlanSpec. */
  @Column('text') spec!: string;
  @Column('blob') spec_digest!: Buffer;
  @Column('integer') revision!: number;
  @Index('plan_phase') @Column('text') phase!: string;
  /** 0 until the plan is submitted. */
  @Column('integer') submitted_at!: number;
  @Column('integer', { nullable: true }) started_at!: number | null;
  @Column('integer', { nullable: true }) finished_at!: number | null;
  @Column('text', { nullable: true }) error_code!: string | null;
  @Column('text', { nullable: true }) error_detail!: string | null;
  @Column('blob', { nullable: true }) root!: Buffer | null;
}

@Entity('stage')
export class StageEntity {
  @PrimaryColumn('integer') plan_no!: number;
  @PrimaryColumn('integer') stage_no!: number;
  @Column('text') phase!: string;
  @Column('text') executor_version!: string;
  @Column('integer', { default: 0 }) total!: number;
  @Column('integer', { default: 0 }) done!: number;
  @Column('integer', { default: 0 }) reused!: number;
  @Column('integer', { default: 0 }) failed!: number;
  @Column('integer', { default: 0 }) skipped!: number;
  @Column('integer', { nullable: true }) matched!: number | null;
  @Column('integer', { nullable: true }) taken!: number | null;
  @Column('integer', { nullable: true }) truncated!: number | null;
  /** JSON: reason of a reuse miss → shards. */
  @Column('text', { default: '{}' }) misses!: string;
  @Column('integer', { nullable: true }) started_at!: number | null;
  @Column('integer', { nullable: true }) finished_at!: number | null;
  /** JSON of the StageOutput. */
  @Column('text', { nullable: true }) output!: string | null;
}

/** At most 256 consecutive shards; see checkpoint/segment-lines.ts. */
@Entity('segment')
export class SegmentEntity {
  @PrimaryColumn('integer') plan_no!: number;
  @PrimaryColumn('integer') stage_no!: number;
  @PrimaryColumn('integer') first_ordinal!: number;
  @Column('integer') count!: number;
  @Column('integer') wave!: number;
  @Column('blob') cas!: Buffer;
  @Column('text') lines!: string;
  @Column('blob') digest!: Buffer;
  @Column('text') misses!: string;
}

/** A lease: some shards of a stage, carried together. */
@Entity('bundle', { withoutRowid: true })
export class BundleEntity {
  @PrimaryColumn('integer') plan_no!: number;
  @PrimaryColumn('integer') bundle!: number;
  @Column('integer') stage_no!: number;
  /** Ranges: `0-255,300`. */
  @Column('text') ordinals!: string;
  @Column('integer') attempt!: number;
  @Column('text') state!: string;
  @Column('text', { nullable: true }) worker!: string | null;
  @Column('integer') leased_at!: number;
}

/** Accepted results; see checkpoint/result-lines.ts. Insert-only: a shard is done, or has failed for good, when it is in a row. */
@Entity('result')
export class ResultEntity {
  @PrimaryColumn('integer') plan_no!: number;
  @PrimaryColumn('integer') revision!: number;
  @PrimaryColumn('integer') stage_no!: number;
  @PrimaryColumn('integer') first_ordinal!: number;
  @Column('integer') count!: number;
  @Column('integer') failed!: number;
  @Column('integer') attempt!: number;
  @Column('integer', { nullable: true }) source_plan_no!: number | null;
  @Column('text') worker!: string;
  @Column('integer') finished_at!: number;
  @Column('text') lines!: string;
}

/** An executor error that did not end its shard, or did. */
@Entity('failure', { withoutRowid: true })
export class FailureEntity {
  @PrimaryColumn('integer') plan_no!: number;
  @PrimaryColumn('integer') stage_no!: number;
  @PrimaryColumn('integer') ordinal!: number;
  @PrimaryColumn('integer') attempt!: number;
  @Column('text') code!: string;
  @Column('text') message!: string;
  @Column('text') worker!: string;
  @Column('integer') at!: number;
}

/** Content id → the result that may be reused. */
@Entity('reuse', { withoutRowid: true })
export class ReuseEntity {
  @PrimaryColumn('blob') cas!: Buffer;
  @Column('integer') plan_no!: number;
  @Column('integer') revision!: number;
  @Column('integer') stage_no!: number;
  @Column('integer') ordinal!: number;
}

@Entity('event')
@Index('event_topic', ['topic', 'id'])
@Index('event_plan', ['plan_id', 'id'])
export class EventEntity {
  @PrimaryGeneratedColumn() id!: number;
  @Column('text') topic!: string;
  @Column('integer') time!: number;
  @Column('text', { nullable: true }) plan_id!: string | null;
  @Column('text') data!: string;
}

@Entity('audit_entry')
export class AuditEntity {
  @PrimaryGeneratedColumn() seq!: number;
  @Column('integer') time!: number;
  @Column('text') actor!: string;
  @Column('text') action!: string;
  @Column('text') outcome!: string;
  @Column('text', { nullable: true }) plan_id!: string | null;
  @Column('text') data!: string;
}

@Entity('certificate')
export class CertificateEntity {
  @PrimaryColumn('integer') plan_no!: number;
  @PrimaryColumn('integer') revision!: number;
  /** JSON of the DSSE envelope. */
  @Column('text') envelope!: string;
  @Column('blob') key_id!: Buffer;
  @Column('text') public_key!: string;
  @Column('blob') leaves!: Buffer;
  @Column('integer') leaves_bytes!: number;
  @Column('blob') records!: Buffer;
  @Column('integer') records_bytes!: number;
}

@Entity('idempotency_key', { withoutRowid: true })
export class IdempotencyKeyEntity {
  @PrimaryColumn('text') key!: string;
  @Column('blob') body!: Buffer;
  @Column('text') plan_id!: string;
  @Column('integer') at!: number;
}

export const entities = [
  PlanEntity,
  StageEntity,
  SegmentEntity,
  BundleEntity,
  ResultEntity,
  FailureEntity,
  ReuseEntity,
  EventEntity,
  AuditEntity,
  CertificateEntity,
  IdempotencyKeyEntity,
];
