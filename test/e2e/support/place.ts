import { existsSync, mkdirSync, mkdtempSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Where a shard works, and where its effects are. */
export class Place {
  readonly dir = mkdtempSync(join(tmpdir(), 'hxo-twice-'));
  readonly workspace = join(this.dir, 'workspace');
  readonly artifacts = join(this.dir, 'artifacts');
  readonly cache = join(this.dir, 'cache');
  readonly target = join(this.dir, 'target.db');

  write(path: string, content: string | Buffer): void {
    const file = join(this.workspace, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }

  /** Bytes of a file, and those of the files below a folder; 0 while it is not there. */
  bytesOf(path: string): number {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) return 0;
    if (!found.isDirectory()) return found.size;
    return filesBelow(path).reduce((sum, file) => sum + this.bytesOf(file), 0);
  }
}

/** Paths of the files below a folder, sorted; none while it is not there. */
export function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return files.map(({ parentPath, name }) => join(parentPath, name)).sort();
}
