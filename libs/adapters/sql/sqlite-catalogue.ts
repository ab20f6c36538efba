import { ledger_name, type SqlRow, type TargetSession, type TargetTable } from '#hxo/execute';

/** Looks a table of the main database up. SQLite compares names without regard to case; those returned are its own. */
export async function describeSqlite(session: TargetSession, table: string): Promise<TargetTable | null> {
  const { rows } = await session.query(
    `SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE`,
    [table],
  );
  const name = rows[0]?.[0] as string | undefined;
  if (name === undefined) return null;
  const columns = await session.query('SELECT name, "notnull", pk FROM pragma_table_xinfo(?1)', [name]);
  const primary_key = columns.rows
    .filter(([, , pk]) => pk !== 0n)
    .sort((a, b) => Number(a[2]) - Number(b[2]))
    .map(([column]) => column as string);
  const indexes = await session.query(
    `SELECT i.name, c.name FROM pragma_index_list(?1) AS i JOIN pragma_index_info(i.name) AS c
     WHERE i."unique" = 1 AND i.partial = 0 ORDER BY i.seq, c.seqno`,
    [name],
  );
  const keys = [...(primary_key.length > 0 ? [primary_key] : []), ...indexColumns(indexes.rows)];
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

/** Index by index; one over an expression has a column without a name, and is none that a key can be. */
function indexColumns(rows: readonly SqlRow[]): string[][] {
  const indexes = new Map<string, (string | null)[]>();
  for (const [index, column] of rows as readonly [string, string | null][])
    indexes.set(index, [...(indexes.get(index) ?? []), column]);
  return [...indexes.values()].filter((columns): columns is string[] => !columns.includes(null));
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
