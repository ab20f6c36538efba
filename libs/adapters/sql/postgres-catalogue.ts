import { ledger_name, TargetError, type TargetSession, type TargetTable } from '#hxo/execute';

/** Looks a table up by its exact name: `table` on the search path, or `schema.table`. */
export async function describePostgres(session: TargetSession, table: string): Promise<TargetTable | null> {
  const dot = table.indexOf('.');
  const schema = dot === -1 ? null : table.slice(0, dot);
  const found = await session.query(
    `SELECT c.oid::text, n.nspname, c.relname, quote_ident(n.nspname), quote_ident(c.relname)
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND c.relname = $1
       AND (n.nspname = $2 OR ($2::text IS NULL AND pg_table_is_visible(c.oid)))`,
    [table.slice(dot + 1), schema],
  );
  const row = found.rows[0] as readonly string[] | undefined;
  if (row === undefined) return null;
  const [oid, schema_name, name, schema_quoted, name_quoted] = row as [
    string,
    string,
    string,
    string,
    string,
  ];
  const columns = await session.query(
    `SELECT attname, quote_ident(attname), attnotnull::text FROM pg_attribute
     WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
    [oid],
  );
  const keys = await session.query(
    `SELECT i.indisprimary::text,
            (SELECT json_agg(a.attname ORDER BY k.place)
             FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
             WHERE k.place <= i.indnkeyatts)::text
     FROM pg_index i
     WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
     ORDER BY i.indisprimary DESC, i.indexrelid`,
    [oid],
  );
  const unique_keys = keys.rows.map(([, list]) => JSON.parse(list as string) as string[]);
  return {
    name: `${schema_name}.${name}`,
    quoted: `${schema_quoted}.${name_quoted}`,
    alias: name_quoted,
    columns: (columns.rows as readonly (readonly string[])[]).map(([column, quoted, not_null]) => ({
      name: column!,
      quoted: quoted!,
      nullable: not_null !== 'true',
    })),
    primary_key: keys.rows[0]?.[0] === 'true' ? unique_keys[0]! : [],
    unique_keys,
  };
}

/**
 * The ledger is the one table of its name in the database, whatever the search path says by now: a schema with the login's
 * name, or a setting, moves the current schema, and what is applied must not be forgotten for that. Throws
 * {@link TargetError} where there are several.
 */
export async function ledgerOfPostgres(
  session: TargetSession,
): Promise<{ readonly table: string; readonly exists: boolean }> {
  const { rows } = await session.query(
    `SELECT format('%I.%I', n.nspname, c.relname)
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = '${ledger_name}' AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' ORDER BY 1`,
  );
  const [table, ...others] = rows.map(([name]) => name as string);
  if (others.length > 0) {
    throw new TargetError(
      'SEVERAL_LEDGERS',
      `The database has several ledgers, ${[table, ...others].join(', ')}: each may tell of other files and batches that are applied. Keep one: insert the rows of the others into it, and drop those.`,
    );
  }
  if (table !== undefined) return { table, exists: true };
  const current = await session.query('SELECT quote_ident(current_schema())');
  const schema = current.rows[0]![0] as string | null;
  return { table: `${schema ?? 'public'}.${ledger_name}`, exists: false };
}
