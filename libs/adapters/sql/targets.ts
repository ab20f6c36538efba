import {
  TargetError,
  targetVariable,
  type SqlDialect,
  type TargetDatabase,
  type Targets,
} from '#hxo/execute';
import { PostgresTarget } from './postgres-target.js';
import { SqliteTarget } from './sqlite-target.js';

/** Where a target is: a SQLite file by its absolute path, or PostgreSQL by a URL, which may hold a password. */
export type TargetAddress =
  | { readonly dialect: 'sqlite'; readonly path: string }
  | { readonly dialect: 'postgres'; readonly url: string };

export interface TargetsOptions {
  /** By the names that plans give them, in lower case. */
  readonly addresses: Readonly<Record<string, TargetAddress>>;
  /** Files and folders of HXO itself, absolute: no target may be one of them or lie in one. */
  readonly forbidden: readonly string[];
  /** A connection that has been idle for so long is closed; 10 s when left out. */
  readonly idle_ms?: number;
}

/** The targets of one process or thread, one connection each. */
export function createTargets(options: TargetsOptions): Targets {
  return new ConfiguredTargets(options);
}

class ConfiguredTargets implements Targets {
  readonly #open = new Map<string, TargetDatabase>();

  constructor(private readonly options: TargetsOptions) {}

  dialectOf(name: string): SqlDialect {
    return this.#address(name).dialect;
  }

  open(name: string): TargetDatabase {
    const known = this.#open.get(name);
    if (known !== undefined) return known;
    const address = this.#address(name);
    const { forbidden, idle_ms = 10_000 } = this.options;
    const target =
      address.dialect === 'sqlite'
        ? new SqliteTarget(name, address.path, { forbidden, idle_ms })
        : new PostgresTarget(name, address.url, idle_ms);
    this.#open.set(name, target);
    return target;
  }

  #address(name: string): TargetAddress {
    const { addresses } = this.options;
    if (Object.hasOwn(addresses, name)) return addresses[name]!;
    const example = 'sqlite:/path/of/app.db or postgres://user@host/database';
    throw new TargetError(
      'TARGET_UNKNOWN',
      `target ${name} is not configured: set ${targetVariable(name)}, for example to ${example}, and restart HXO.`,
    );
  }
}
