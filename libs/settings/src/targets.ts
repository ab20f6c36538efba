import { resolve } from 'node:path';
import type { SettingsReader } from './reader.js';
import { target_variable } from './variables.js';

/** Where a target is: a SQLite file by its absolute path, or PostgreSQL by its URL, which may hold a password. */
export type TargetSettings =
  | { readonly dialect: 'sqlite'; readonly path: string }
  | { readonly dialect: 'postgres'; readonly url: string };

/** Every `HXO_TARGET_<NAME>_URL`, by the name in lower case. Messages never show a URL. */
export function readTargets(read: SettingsReader, cwd: string): Readonly<Record<string, TargetSettings>> {
  const targets: [string, TargetSettings][] = [];
  for (const [variable, url] of read.matching(target_variable)) {
    const target = parseTarget(url, cwd);
    if (target !== null) targets.push([target_variable.exec(variable)![1]!.toLowerCase(), target]);
    else {
      read.refuse(
        variable,
        'sqlite:app.db, sqlite:///path/app.db or postgres://user:password@host:5432/database is allowed.',
      );
    }
  }
  return Object.freeze(Object.fromEntries(targets));
}

function parseTarget(url: string, cwd: string): TargetSettings | null {
  const sqlite = /^sqlite:(?:\/\/(?=\/))?(.+)$/.exec(url)?.[1];
  // A host in sqlite://host/path would be taken for a folder.
  if (sqlite !== undefined && !sqlite.startsWith('//') && !/[?\0]/.test(sqlite) && sqlite !== ':memory:')
    return Object.freeze({ dialect: 'sqlite', path: resolve(cwd, sqlite) });
  if (!URL.canParse(url)) return null;
  const { protocol, pathname } = new URL(url);
  if (!/^postgres(ql)?:$/.test(protocol) || pathname.length < 2) return null;
  return Object.freeze({ dialect: 'postgres', url });
}
