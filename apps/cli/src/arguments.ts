import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { InvalidArgumentError } from 'commander';
import { UsageError } from './exit-codes.js';

/** Parses a positive whole number given as an option. */
export function parseCount(value: string): number {
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new InvalidArgumentError('A whole number from 1 is expected.');
  return Number(value);
}

/** Parses a shard's position in its stage. */
export function parseOrdinal(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('A whole number from 0 is expected.');
  return Number(value);
}

/** The text of a file, or of standard input for `-`. Throws {@link UsageError}. */
export async function readSource(file: string): Promise<string> {
  try {
    return file === '-' ? await text(process.stdin) : await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(
      `${nameOf(file)} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** A file argument, for messages. */
export function nameOf(file: string): string {
  return file === '-' ? 'Standard input' : file;
}
