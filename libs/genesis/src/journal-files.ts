import { open, readdir, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

/** Numbers of the segments `events-<n>.ndjson` in a folder, ascending. */
export async function segmentNumbers(folder: string): Promise<number[]> {
  const names = await readdir(folder);
  return names
    .flatMap((name) => /^events-([1-9]\d{0,14})\.ndjson$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

export function segmentPath(folder: string, number: number): string {
  return join(folder, `events-${number}.ndjson`);
}

/** Where the whole lines of a segment end, and the id of the last event in it (null when it holds none). */
export interface Tail {
  readonly bytes: number;
  readonly last_id: string | null;
}

/**
 * Finds the last line that is whole: it ends in a newline and is JSON with an id. What follows it was torn by a crash
 * (a partial write, or zeros that the file system left behind).
 */
export async function readTail(path: string): Promise<Tail> {
  const file = await open(path, 'r');
  try {
    let { size } = await file.stat();
    while (size > 0) {
      const line = await lastLine(file, size);
      const id = line.ended ? eventId(line.text) : null;
      if (id !== null) return { bytes: size, last_id: id };
      size = line.start;
    }
    return { bytes: 0, last_id: null };
  } finally {
    await file.close();
  }
}

/** The line that ends at `size`: its start, its text without the newline, and whether it has one. */
async function lastLine(
  file: FileHandle,
  size: number,
): Promise<{ readonly start: number; readonly text: string; readonly ended: boolean }> {
  for (let window = 65_536; ; window *= 2) {
    const from = Math.max(0, size - window);
    const bytes = Buffer.alloc(size - from);
    await file.read(bytes, 0, bytes.length, from);
    const ended = bytes.at(-1) === 0x0a;
    // The newline before the line, not the one that ends it.
    const before = bytes.length < 2 ? -1 : bytes.lastIndexOf(0x0a, bytes.length - 2);
    if (before < 0 && from > 0) continue;
    const text = bytes.toString('utf8', before + 1, ended ? bytes.length - 1 : bytes.length);
    return { start: from + before + 1, text, ended };
  }
}

function eventId(line: string): string | null {
  try {
    const event: unknown = JSON.parse(line);
    return typeof event === 'object' && event !== null && 'id' in event && typeof event.id === 'string'
      ? event.id
      : null;
  } catch {
    return null;
  }
}
