import { ledger_name, type TargetSession, type TargetTable } from '#hxo/execute';

/** Looks a table of the main database up. SQLite compares names without regard to case; those returned are its own. */
export async function describeSqlite(session: TargetSession, table: string): Promise<TargetTable | null> {
  const { rows } = await session.query(
    `SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE`,
    [table],
  );
  const name = rows[0]?.[0] as string | undefined;
  if (name === undefined) return null;
  const columns = await session.query('SELECT name, "notnull", pk FROM pragma_table_xinfo(?1)', [name]);
  const indexes = await uniqueIndexes(session, name);
  // A primary key without an index is the rowid; one whose index has another collation is no key in the column's order.
  const cuts = indexes.every(({ primary, orders }) => !primary || orders);
  const primary_key = columns.rows
    .filter(([, , pk]) => cuts && pk !== 0n)
    .sort((a, b) => Number(a[2]) - Number(b[2]))
    .map(([column]) => column as string);
  const indexed = indexes.filter(({ orders }) => orders).map((index) => index.columns);
  const keys = [...(primary_key.length > 0 ? [primary_key] : []), ...indexed];
  return {
    name,
    quoted: `main.${quoted(name)}`,
    alias: quoted(name),
    columns: columns.rows.map(([column, not_null]) => ({
      name: column as string,
      quoted: quoted(column as string),
      nullable: not_null === 0n,
    })),
    primary_key,
    unique_keys: keys,
  };
}

export async function ledgerOfSqlite(
  session: TargetSession,
): Promise<{ readonly table: string; readonly exists: boolean }> {
  const found = await session.query(
    `SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = '${ledger_name}'`,
  );
  return { table: `main.${quoted(ledger_name)}`, exists: found.rows.length > 0 };
}

interface UniqueIndex {
  readonly columns: readonly string[];
  readonly primary: boolean;
  /** Are its rows unique, and in order, as its columns compare? */
  readonly orders: boolean;
}

/** Unique indexes over all rows and plain columns: one over an expression, which has no name, is none that a key can be. */
async function uniqueIndexes(session: TargetSession, table: string): Promise<UniqueIndex[]> {
  const { rows } = await session.query(
    `SELECT i.name, i.origin, c.name, c.coll FROM pragma_index_list(?1) AS i JOIN pragma_index_xinfo(i.name) AS c
     WHERE i."unique" = 1 AND i.partial = 0 AND c.key = 1 ORDER BY i.seq, c.seqno`,
    [table],
  );
  const indexes = new Map<string, [origin: string, column: string | null, collation: string][]>();
  for (const [index, ...column] of rows as [string, string, string | null, string][])
    indexes.set(index, [...(indexes.get(index) ?? []), column]);
  const unique: UniqueIndex[] = [];
  for (const parts of indexes.values()) {
    const columns = parts.map(([, column]) => column);
    if (!areNamed(columns)) continue;
    let orders = true;
    for (const [i, column] of columns.entries())
      orders &&= parts[i]![2].toUpperCase() === (await collationOf(session, table, column));
    unique.push({ columns, primary: parts[0]![0] === 'pk', orders });
  }
  return unique;
}

function areNamed(columns: (string | null)[]): columns is string[] {
  return !columns.includes(null);
}

/** How many of the texts of {@link collationOf} differ in each collation; a connection of HXO has no others. */
const collations: ReadonlyMap<bigint, string> = new Map([
  [5n, 'BINARY'],
  [4n, 'NOCASE'],
  [3n, 'RTRIM'],
]);

/**
 * The collation of a column, which no catalogue tells: UNION compares texts by that of its first column
 * (https://www.sqlite.org/lang_select.html#compound_select_statements).
 */
async function collationOf(
  session: TargetSession,
  table: string,
  column: string,
): Promise<string | undefined> {
  const texts = ['a', 'A', 'b', 'b ', 'b  '].map((text) => `UNION SELECT '${text}'`).join(' ');
  const { rows } = await session.query(
    `SELECT count(*) FROM (SELECT ${quoted(column)} FROM main.${quoted(table)} WHERE 0 ${texts})`,
  );
  return collations.get(rows[0]![0] as bigint);
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
