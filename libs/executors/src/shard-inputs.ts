import { FailShard, type Json } from '#hxo/execute';
import type { NamedFile } from './read-file.js';

/**
 * Reads a shard's inputs, which have come through a store and over a network. Whatever is not as the executor expects it fails
 * the shard for good: each method throws {@link FailShard} `BAD_INPUTS` with the form that is expected.
 */
export class ShardInputs {
  /** @param form what the executor takes, and which partitioners make it */
  constructor(private readonly form: string) {}

  refused(form = this.form): FailShard {
    return new FailShard('BAD_INPUTS', form);
  }

  /** The fields of an object. */
  record(value: Json | undefined): Readonly<Record<string, Json | undefined>> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.refused();
    return value as Readonly<Record<string, Json>>;
  }

  /** The items of a list; of `length`, where that is given. */
  list(value: Json | undefined, length?: number): readonly Json[] {
    if (!Array.isArray(value)) throw this.refused();
    const items = value as readonly Json[];
    if (length !== undefined && items.length !== length) throw this.refused();
    return items;
  }

  /** A text that is not empty. */
  text(value: Json | undefined): string {
    if (typeof value !== 'string' || value === '') throw this.refused();
    return value;
  }

  /** A text, which may be empty. */
  anyText(value: Json | undefined): string {
    if (typeof value !== 'string') throw this.refused();
    return value;
  }

  /** A whole number from 0. */
  count(value: Json | undefined): number {
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw this.refused();
    return value as number;
  }

  /** A file by the first two items of its row: `[path, bytes, …]`. */
  file(row: Json | undefined): NamedFile {
    const [path, bytes] = this.list(row);
    return { path: this.text(path), bytes: this.count(bytes) };
  }
}
