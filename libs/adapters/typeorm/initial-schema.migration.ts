import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The first schema. Digests are 32-byte blobs, times UTC milliseconds since 1970. */
export class InitialSchema1763900000000 implements MigrationInterface {
  readonly name = 'InitialSchema1763900000000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of up) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of tables) await runner.query(`DROP TABLE "${table}"`);
  }
}

const tables = [
  'plan',
  'stage',
  'segment',
  'bundle',
  'result',
  'failure',
  'reuse',
  'event',
  'audit_entry',
  'certificate',
  'idempotency_key',
];

const up = [
  `CREATE TABLE "plan" (
    "plan_no" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "plan_id" text NOT NULL, "name" text NOT NULL,
    "spec" text NOT NULL, "spec_digest" blob NOT NULL, "revision" integer NOT NULL, "phase" text NOT NULL,
    "submitted_at" integer NOT NULL, "started_at" integer, "finished_at" integer,
    "error_code" text, "error_detail" text, "root" blob)`,
  `CREATE UNIQUE INDEX "plan_id" ON "plan" ("plan_id")`,
  `CREATE INDEX "plan_name" ON "plan" ("name")`,
  `CREATE INDEX "plan_phase" ON "plan" ("phase")`,
  `CREATE TABLE "stage" (
    "plan_no" integer NOT NULL, "stage_no" integer NOT NULL, "phase" text NOT NULL, "executor_version" text NOT NULL,
    "total" integer NOT NULL DEFAULT (0), "done" integer NOT NULL DEFAULT (0), "reused" integer NOT NULL DEFAULT (0),
    "failed" integer NOT NULL DEFAULT (0), "skipped" integer NOT NULL DEFAULT (0),
    "matched" integer, "taken" integer, "truncated" integer, "misses" text NOT NULL DEFAULT ('{}'),
    "started_at" integer, "finished_at" integer, "output" text, PRIMARY KEY ("plan_no", "stage_no"))`,
  `CREATE TABLE "segment" (
    "plan_no" integer NOT NULL, "stage_no" integer NOT NULL, "first_ordinal" integer NOT NULL,
    "count" integer NOT NULL, "wave" integer NOT NULL, "cas" blob NOT NULL, "lines" text NOT NULL,
    "digest" blob NOT NULL, "misses" text NOT NULL, PRIMARY KEY ("plan_no", "stage_no", "first_ordinal"))`,
  `CREATE TABLE "bundle" (
    "plan_no" integer NOT NULL, "bundle" integer NOT NULL, "stage_no" integer NOT NULL, "ordinals" text NOT NULL,
    "attempt" integer NOT NULL, "state" text NOT NULL, "worker" text, "leased_at" integer NOT NULL,
    PRIMARY KEY ("plan_no", "bundle")) WITHOUT ROWID`,
  `CREATE TABLE "result" (
    "plan_no" integer NOT NULL, "revision" integer NOT NULL, "stage_no" integer NOT NULL,
    "first_ordinal" integer NOT NULL, "count" integer NOT NULL, "failed" integer NOT NULL, "attempt" integer NOT NULL,
    "source_plan_no" integer, "worker" text NOT NULL, "finished_at" integer NOT NULL, "lines" text NOT NULL,
    PRIMARY KEY ("plan_no", "revision", "stage_no", "first_ordinal"))`,
  `CREATE TABLE "failure" (
    "plan_no" integer NOT NULL, "stage_no" integer NOT NULL, "ordinal" integer NOT NULL, "attempt" integer NOT NULL,
    "code" text NOT NULL, "message" text NOT NULL, "worker" text NOT NULL, "at" integer NOT NULL,
    PRIMARY KEY ("plan_no", "stage_no", "ordinal", "attempt")) WITHOUT ROWID`,
  `CREATE TABLE "reuse" (
    "cas" blob PRIMARY KEY NOT NULL, "plan_no" integer NOT NULL, "revision" integer NOT NULL,
    "stage_no" integer NOT NULL, "ordinal" integer NOT NULL) WITHOUT ROWID`,
  `CREATE TABLE "event" (
    "id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "topic" text NOT NULL, "time" integer NOT NULL,
    "plan_id" text, "data" text NOT NULL)`,
  `CREATE INDEX "event_plan" ON "event" ("plan_id", "id")`,
  `CREATE INDEX "event_topic" ON "event" ("topic", "id")`,
  `CREATE TABLE "audit_entry" (
    "seq" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "time" integer NOT NULL, "actor" text NOT NULL,
    "action" text NOT NULL, "outcome" text NOT NULL, "plan_id" text, "data" text NOT NULL)`,
  `CREATE TABLE "certificate" (
    "plan_no" integer NOT NULL, "revision" integer NOT NULL, "envelope" text NOT NULL, "key_id" blob NOT NULL,
    "public_key" text NOT NULL, "leaves" blob NOT NULL, "leaves_bytes" integer NOT NULL,
    "records" blob NOT NULL, "records_bytes" integer NOT NULL, PRIMARY KEY ("plan_no", "revision"))`,
  `CREATE TABLE "idempotency_key" (
    "key" text PRIMARY KEY NOT NULL, "body" blob NOT NULL, "plan_id" text NOT NULL, "at" integer NOT NULL) WITHOUT ROWID`,
];
