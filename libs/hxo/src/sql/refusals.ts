import type { SqlDialect } from '../execute/targets.js';
import { splitStatements, type SqlStatement } from './statements.js';
import { SqlTextError, tokenize, type Token } from './tokens.js';

/** The table that tells what HXO has applied, in the target itself. */
export const ledger_name = 'hxo_ledger';

/** Statements that end, begin or nest a transaction: HXO's own would no longer hold all that a shard does. */
const transaction_control = new Set([
  ...['begin', 'start', 'commit', 'end', 'rollback', 'abort', 'savepoint', 'release'],
]);

/** Statements that reach files, programs or other databases, by their first words. */
const refused_statements: Readonly<Record<SqlDialect, readonly (readonly string[])[]>> = {
  sqlite: [['attach'], ['detach']],
  postgres: [['copy'], ['load'], ['alter', 'system'], ['prepare', 'transaction']],
};

/** Functions that reach files and libraries, by name. */
const refused_names: Readonly<Record<SqlDialect, RegExp>> = {
  sqlite: /^(load_extension|readfile|writefile|fts3_tokenizer)$/,
  postgres:
    /^(pg_read_file|pg_read_binary_file|pg_stat_file|pg_ls_\w+|pg_file_\w+|pg_logdir_ls|lo_import|lo_export|pg_execute_server_program)$/,
};

/** Functions of PostgreSQL and its extensions that run a text, or reach other databases with it. */
const running_names =
  /^(query_to_xml(schema|_and_xmlschema)?|ts_stat|ts_rewrite|dblink\w*|crosstab\d*|connectby|xpath_table)$/;

/** Settings of PostgreSQL by which it reads the texts behind them, and the one value that they may be set to. */
const reading_settings: ReadonlyMap<string, RegExp> = new Map([
  ['standard_conforming_strings', /^(on|true|yes|1)$/],
  ['backslash_quote', /^safe_encoding$/],
  ['client_encoding', /^utf-?8$/],
  ['names', /^utf-?8$/],
]);

/** PRAGMAs of SQLite that a migration may set; others change files, safety or the schema behind SQLite's back. */
const allowed_pragmas = new Set([
  ...['application_id', 'user_version', 'defer_foreign_keys', 'foreign_key_check'],
  ...['foreign_key_list', 'integrity_check', 'quick_check', 'optimize', 'legacy_alter_table', 'table_info'],
  ...['table_xinfo', 'index_list', 'index_info', 'recursive_triggers', 'ignore_check_constraints'],
  ...['analysis_limit', 'cache_size'],
]);

/** Those that only work outside a transaction. SQLite ignores foreign_keys inside one, and DROP TABLE cascades. */
const pragmas_outside = new Set([
  'foreign_keys',
  'journal_mode',
  'auto_vacuum',
  'page_size',
  'wal_checkpoint',
  'incremental_vacuum',
]);

/** What keeps a text from being run, in words that name the way out; null when nothing does. */
export function refusalOf(
  sql: string,
  dialect: SqlDialect,
  { in_transaction }: { readonly in_transaction: boolean },
): string | null {
  try {
    for (const statement of splitStatements(sql, dialect)) {
      const refusal = statementRefusal(statement, dialect, in_transaction);
      if (refusal !== null) return refusal;
    }
    return null;
  } catch (error) {
    if (error instanceof SqlTextError) return error.message;
    throw error;
  }
}

function statementRefusal(
  { tokens }: SqlStatement,
  dialect: SqlDialect,
  in_transaction: boolean,
): string | null {
  const [first, second] = tokens.map(({ kind, value }) => (kind === 'word' ? value : ''));
  if (transaction_control.has(first!))
    return `${first!.toUpperCase()} is refused: HXO begins and ends transactions itself. Take it out.`;
  const refused = refused_statements[dialect].find(
    (words) => words[0] === first && (words[1] === undefined || words[1] === second),
  );
  if (refused !== undefined)
    return `${refused.join(' ').toUpperCase()} is refused: it reaches beyond the database. Use INSERT, or run it by hand.`;
  if (first === 'vacuum' && tokens.some(({ value }) => value === 'into'))
    return 'VACUUM INTO is refused: it writes a file of its own.';
  if (first === 'pragma') {
    const refusal = pragmaRefusal(tokens, in_transaction);
    if (refusal !== null) return refusal;
  }
  // EXPLAIN PRAGMA, or EXPLAIN QUERY PLAN PRAGMA.
  const explained = second === 'query' ? tokens[3] : tokens[1];
  if (dialect === 'sqlite' && first === 'explain' && explained?.value === 'pragma')
    return 'EXPLAIN of a PRAGMA is refused: SQLite sets it all the same. Take EXPLAIN away.';
  return nameRefusal(tokens, dialect) ?? codeRefusal(tokens, dialect);
}

function pragmaRefusal(tokens: readonly Token[], in_transaction: boolean): string | null {
  // PRAGMA schema.name names the schema first.
  const at = tokens[2]?.value === '.' ? 3 : 1;
  const name = tokens[at]?.value.toLowerCase() ?? '';
  if (allowed_pragmas.has(name)) return null;
  if (!pragmas_outside.has(name)) return `PRAGMA ${name} is refused. Run it by hand if it has to be.`;
  if (!in_transaction || (name === 'foreign_keys' && leavesOn(tokens.slice(at + 1)))) return null;
  return `PRAGMA ${name} does not work in a transaction. Put it in a file of its own whose first line is "${no_transaction_marker}".`;
}

/** Every connection enforces foreign keys: what asks for it, or whether it is so, may stand anywhere. */
function leavesOn(given: readonly Token[]): boolean {
  const text = given.map(({ value }) => value.toLowerCase()).join('');
  return /^(|[=(](on|yes|true|1)\)?)$/.test(text);
}

function nameRefusal(tokens: readonly Token[], dialect: SqlDialect): string | null {
  for (const [at, { kind, value, end }] of tokens.entries()) {
    const next = tokens[at + 1];
    if (kind === 'word' && value === 'u' && next?.value === '&' && next.start === end) {
      if (tokens[at + 2]?.start === next.end && tokens[at + 2]!.kind === 'quoted')
        return 'A name of the form U&"…" is refused. Write it without escapes.';
      if (tokens[at + 2]?.start === next.end && tokens[at + 2]!.kind === 'string' && isCode(tokens))
        return "Code in a text of the form U&'…' is refused. Write it without escapes.";
    }
    const name = value.toLowerCase();
    // SQLite takes a text for a name where a name must stand.
    const named =
      kind === 'word' ||
      kind === 'quoted' ||
      (dialect === 'sqlite' && kind === 'string' && name === ledger_name);
    if (!named) continue;
    if (name === ledger_name) return `${ledger_name} is refused: it is HXO's own.`;
    if (refused_names[dialect].test(name)) return `${name} is refused: it reaches files of the server.`;
    if (dialect === 'sqlite') continue;
    if (running_names.test(name))
      return `${name} is refused: it runs a text, which is not looked into. Write the query itself, or run it by hand.`;
    const refusal = settingRefusal(tokens, at);
    if (refusal !== null) return refusal;
  }
  return null;
}

/** What is checked must be what is run: nothing may change how the server reads a text. */
function settingRefusal(tokens: readonly Token[], at: number): string | null {
  const { value } = tokens[at]!;
  const [first, second, third] = tokens.slice(at + 1, at + 4);
  if (value === 'set_config' && first?.value === '(') {
    if (second?.kind !== 'string' || third?.value !== ',')
      return 'set_config of a setting that is not named by a text of its own is refused. Use SET.';
    return reading_settings.has(second.value.toLowerCase()) ? refusedSetting(second.value) : null;
  }
  if (value === 'pg_settings' && isUpdated(tokens, at))
    return 'UPDATE of pg_settings is refused: it may change how the statements behind it are read. Use SET.';
  const before = tokens[at - 1];
  const begins = before === undefined || /^(;|begin|then|else|loop)$/.test(before.value);
  if (begins && (value === 'reset' || value === 'discard') && first?.value === 'all')
    return `${value.toUpperCase()} ALL is refused: every file has a session of its own. Take it out.`;
  if (before?.kind !== 'word' || !/^(set|session|local|reset)$/.test(before.value)) return null;
  const name = value.toLowerCase();
  const allowed = reading_settings.get(name);
  // A column may be called names.
  if (allowed === undefined || (name === 'names' && first?.kind !== 'string')) return null;
  const given = first?.value === '=' || first?.value === 'to' ? second : first;
  return before.value !== 'reset' && allowed.test(given?.value.toLowerCase() ?? '')
    ? null
    : refusedSetting(name);
}

/** Is the relation at `at` what an UPDATE changes? */
function isUpdated(tokens: readonly Token[], at: number): boolean {
  const between = /^(only|\(|pg_catalog|\.)$/;
  return tokens.slice(0, at).findLast(({ value }) => !between.test(value))?.value === 'update';
}

function refusedSetting(name: string): string {
  return `Setting ${name.toLowerCase()} is refused: it changes how the statements behind it are read. Take it out.`;
}

function isCode(tokens: readonly Token[]): boolean {
  const words = tokens.slice(0, 5).map(({ value }) => value);
  return words[0] === 'do' || words.includes('function') || words.includes('procedure');
}

/** Bodies of functions and DO are code, however they are quoted, and what they EXECUTE is code again. */
function codeRefusal(tokens: readonly Token[], dialect: SqlDialect): string | null {
  if (dialect !== 'postgres' || !isCode(tokens)) return null;
  const runs = tokens[0]!.value === 'do';
  const language = tokens[tokens.findIndex(({ kind, value }) => kind === 'word' && value === 'language') + 1];
  if (runs && language !== tokens[0] && language?.value.toLowerCase() !== 'plpgsql')
    return 'DO in a language other than plpgsql is refused: it is not looked into. Run it by hand.';
  const refusal = bodyRefusal(tokens, 0);
  if (refusal !== null) return refusal;
  for (const [at, { kind, value }] of tokens.entries()) {
    if (kind !== 'code' && kind !== 'string') continue;
    if (!runs && tokens[at - 1]?.value !== 'as') continue;
    const refused = executeRefusal(tokenize(value, 'postgres'), runs);
    if (refused !== null) return refused;
  }
  return null;
}

/**
 * EXECUTE in a body runs a text. One constant is checked as the statements that it is. What is put together (`||`, format(), a
 * variable) cannot be: DO, which runs at once, must do without; a function may have it.
 */
function executeRefusal(body: readonly Token[], runs: boolean): string | null {
  for (const [at, { kind, value }] of body.entries()) {
    if (kind !== 'word' || value !== 'execute' || body[at - 1]?.value === '.') continue;
    const [text, next] = body.slice(at + 1, at + 3);
    // GRANT EXECUTE ON, and what a trigger is to do.
    if (text?.kind === 'word' && text.value === 'on') continue;
    const names = next?.kind === 'word' || next?.kind === 'quoted';
    if (text?.kind === 'word' && /^(function|procedure)$/.test(text.value) && names) continue;
    const constant = text?.kind === 'string' || text?.kind === 'code';
    const alone =
      next === undefined ||
      next.kind === 'semicolon' ||
      (next.kind === 'word' && /^(into|using|loop)$/.test(next.value));
    if (constant && alone) {
      const refusal = refusalOf(text.value, 'postgres', { in_transaction: true });
      if (refusal !== null) return refusal;
    } else if (runs) {
      return 'EXECUTE in DO is refused for a text that is put together: nobody can tell what it runs. EXECUTE one constant text (with USING), write the statements as they are, or run it by hand.';
    }
  }
  return null;
}

const bodies_depth_max = 8;

function bodyRefusal(tokens: readonly Token[], depth: number): string | null {
  if (depth > bodies_depth_max) return `Texts within texts deeper than ${bodies_depth_max} are refused.`;
  for (const { kind, value } of tokens) {
    if (kind !== 'code' && kind !== 'string') continue;
    const inner = innerTokens(value);
    const copies = inner.some((token, at) => token.value === 'copy' && copiesFile(inner.slice(at)));
    if (copies) return 'COPY is refused: it reaches beyond the database. Use INSERT, or run it by hand.';
    const refusal = nameRefusal(inner, 'postgres') ?? bodyRefusal(inner, depth + 1);
    if (refusal !== null) return refusal;
  }
  return null;
}

/** A text that is no SQL, as many are, has no tokens to look at. */
function innerTokens(text: string): Token[] {
  try {
    return tokenize(text, 'postgres');
  } catch {
    return [];
  }
}

/** COPY … FROM or TO in one statement: a column may be named copy. */
function copiesFile(tokens: readonly Token[]): boolean {
  const end = tokens.findIndex(({ kind }) => kind === 'semicolon');
  const statement = end === -1 ? tokens : tokens.slice(0, end);
  return statement.some(({ value }) => value === 'program' || value === 'from' || value === 'to');
}

/** First line of a migration file whose statements cannot run in a transaction. */
export const no_transaction_marker = '-- hxo: no-transaction';

/** Is a migration file of the lane for statements that cannot run in a transaction? */
export function runsOutsideTransaction(sql: string): boolean {
  const [line = ''] = sql.replace(/^\uFEFF/, '').split(/\r?\n/, 1);
  return line.trim() === no_transaction_marker;
}
