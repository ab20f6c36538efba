import fc from 'fast-check';
import type { SqlDialect } from '../execute/targets.js';
import { refusalOf, runsOutsideTransaction } from './refusals.js';
import { splitStatements } from './statements.js';
import { SqlTextError, tokenize } from './tokens.js';

const kinds = (sql: string, dialect: SqlDialect): string =>
  tokenize(sql, dialect)
    .map(({ kind, value }) => `${kind}:${value}`)
    .join(' ');

describe('tokenize', () => {
  it.each<[SqlDialect, string, string]>([
    ['postgres', `SELECT 'it''s' -- ; '\n, "a""b"`, `word:select string:it's symbol:, quoted:a"b`],
    ['postgres', String.raw`E'\'' '\'`, String.raw`string:' string:\ `.trimEnd()],
    ['postgres', String.raw`E'\103\x4f\u004D\U0000004dit\q\\'`, String.raw`string:COMMitq\ `.trimEnd()],
    ['postgres', String.raw`E'\503\117MMIT'`, 'string:COMMIT'],
    ['postgres', "'a' -- b\n 'c''x' 'd'", "string:ac'x string:d"],
    ['sqlite', "'a'\n'b'", 'string:a string:b'],
    ['postgres', '/* a /* b */ ; */ x', 'word:x'],
    ['sqlite', '/* a /* b */ x', 'word:x'],
    ['sqlite', 'x /* never ends', 'word:x'],
    ['postgres', '$$a;b$$ $t$ $$ $t$ $1', 'code:a;b code: $$  parameter:$1'],
    ['postgres', 'a$1 a::int', 'word:a$1 word:a symbol:: symbol:: word:int'],
    ['sqlite', '`a``b` [c d] ?1 :a @b $c', 'quoted:a`b quoted:c d parameter:?1 parameter::a parameter:@b parameter:$c'], // prettier-ignore
    ['postgres', '1.5e3 .5 é', 'number:1.5e3 number:.5 word:é'],
    ['postgres', '-- a\rx', 'word:x'],
    ['sqlite', '-- a\rx', ''],
  ])('of %s: %s', (dialect, sql, expected) => expect(kinds(sql, dialect)).toBe(expected));

  it.each<[SqlDialect, string]>([
    ['postgres', "'a"],
    ['postgres', '"a'],
    ['postgres', '$$a$'],
    ['postgres', '/* /* */'],
    ['sqlite', '[a'],
    ['postgres', "'a'\n'b"],
    ['postgres', String.raw`E'\Uffffffff'`],
    ['sqlite', 'a\0b'],
  ])('refuses what never ends in %s: %j', (dialect, sql) =>
    expect(() => tokenize(sql, dialect)).toThrow(SqlTextError),
  );

  const dialect = fc.constantFrom<SqlDialect>('sqlite', 'postgres');
  const noise = fc.oneof(fc.string({ unit: fc.constantFrom(...`'"\`[]$-/*;\\aE1?:@ \n\r`), maxLength: 30 }), fc.string()); // prettier-ignore

  it('takes any text apart into pieces that stand in order, or refuses it', () => {
    fc.assert(
      fc.property(noise, dialect, (sql, of) => {
        try {
          let last = 0;
          for (const { start, end } of tokenize(sql, of)) {
            expect(start).toBeGreaterThanOrEqual(last);
            expect(end).toBeGreaterThan(start);
            last = end;
          }
        } catch (error) {
          if (!(error instanceof SqlTextError)) throw error;
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('sees nothing inside texts, names and comments, whatever they hold', () => {
    const hidden = noise.filter((text) => !text.includes('\0'));
    fc.assert(
      fc.property(hidden, dialect, (text, of) => {
        const quoted = `'${text.replaceAll("'", "''")}'`;
        const name = `"${text.replaceAll('"', '""')}"`;
        const line = `-- ${text.replaceAll(/[\r\n]/g, ' ')}\n`;
        const block = `/* ${text.replaceAll(/[*/]/g, ' ')} */`;
        const tokens = tokenize(`a ${quoted} b ${line} ${block} ${name} c`, of);
        expect(tokens.map(({ kind }) => kind)).toEqual(['word', 'string', 'word', 'quoted', 'word']);
        expect(tokens[1]!.value).toBe(text);
        expect(tokens[3]!.value).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('splitStatements', () => {
  const texts = (sql: string, dialect: SqlDialect): string[] =>
    splitStatements(sql, dialect).map(({ text }) => text);

  it('cuts at semicolons between statements', () => {
    expect(texts("a; b ';' ;; -- c;\n", 'postgres')).toEqual(['a', "b ';'"]);
  });

  it('keeps the bodies of triggers and functions whole', () => {
    const trigger =
      'CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; SELECT 3; END';
    expect(texts(`${trigger}; SELECT 4`, 'sqlite')).toEqual([trigger, 'SELECT 4']);
    const body = 'CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END';
    expect(texts(`${body}; SELECT 4`, 'postgres')).toEqual([body, 'SELECT 4']);
    const old = 'CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; SELECT 2 $$';
    expect(texts(`${old}; SELECT 4`, 'postgres')).toEqual([old, 'SELECT 4']);
    const none = 'CREATE FUNCTION f() RETURNS void BEGIN ATOMIC END';
    expect(texts(`${none}; SELECT 4`, 'postgres')).toEqual([none, 'SELECT 4']);
    const rule = 'CREATE RULE r AS ON INSERT TO a DO ALSO (DELETE FROM b; NOTIFY c; SELECT (1);)';
    expect(texts(`${rule}; SELECT 4`, 'postgres')).toEqual([rule, 'SELECT 4']);
  });
});

describe('refusalOf', () => {
  const refused = (sql: string, dialect: SqlDialect): string | null =>
    refusalOf(sql, dialect, { in_transaction: true });

  it.each<[SqlDialect, string, string]>([
    ['postgres', 'SELECT 1; COMMIT', 'COMMIT'],
    ['postgres', '/* x */ begin', 'BEGIN'],
    ['sqlite', 'SAVEPOINT a', 'SAVEPOINT'],
    ['sqlite', `attach 'x' AS y`, 'ATTACH'],
    ['sqlite', 'DETACH y', 'DETACH'],
    ['sqlite', `VACUUM INTO 'x'`, 'VACUUM INTO'],
    ['sqlite', `SELECT Load_Extension('x')`, 'load_extension'],
    ['sqlite', 'SELECT [load_extension](1)', 'load_extension'],
    ['sqlite', 'PRAGMA writable_schema = 1', 'writable_schema'],
    ['sqlite', 'PRAGMA main.journal_mode = wal', 'hxo: no-transaction'],
    ['sqlite', 'EXPLAIN PRAGMA synchronous = OFF', 'EXPLAIN of a PRAGMA'],
    ['sqlite', 'EXPLAIN QUERY PLAN PRAGMA synchronous = OFF', 'EXPLAIN of a PRAGMA'],
    ['sqlite', 'PRAGMA foreign_keys=OFF', 'hxo: no-transaction'],
    ['sqlite', `PRAGMA "foreign_keys"('0')`, 'hxo: no-transaction'],
    ['sqlite', 'PRAGMA foreign_keys = -1', 'hxo: no-transaction'],
    ['postgres', `COPY a FROM PROGRAM 'id'`, 'COPY'],
    ['postgres', `copy a to '/tmp/x'`, 'COPY'],
    ['postgres', `SELECT pg_read_file('/etc/passwd')`, 'pg_read_file'],
    ['postgres', `SELECT "pg_read_file"('/etc/passwd')`, 'pg_read_file'],
    ['postgres', `SELECT lo_import('/etc/passwd')`, 'lo_import'],
    ['postgres', `SELECT U&"pg\\005fread_file"('x')`, 'U&'],
    ['postgres', `DO $$ BEGIN EXECUTE 'COPY a FROM PROGRAM ''id'''; END $$`, 'COPY'],
    ['postgres', `DO 'BEGIN PERFORM lo_export(1, ''x''); END'`, 'lo_export'],
    ['postgres', 'CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $f$ SELECT pg_ls_dir(1) $f$', 'pg_ls_dir'],
    ['postgres', `LOAD 'x'`, 'LOAD'],
    ['postgres', 'ALTER SYSTEM SET x = 1', 'ALTER SYSTEM'],
    ['postgres', 'DELETE FROM hxo_ledger', 'hxo_ledger'],
    ['sqlite', 'DELETE FROM main."HXO_Ledger"', 'hxo_ledger'],
    ['postgres', `SELECT 'x`, 'never ends'],
    ['sqlite', `DELETE FROM 'hxo_ledger'`, 'hxo_ledger'],
    ['sqlite', 'CREATE TABLE audit (trigger text, begin text); COMMIT; INSERT INTO a VALUES (1)', 'COMMIT'],
    ['postgres', 'CREATE TABLE audit (function text, begin text); COMMIT', 'COMMIT'],
    ['postgres', 'CREATE TABLE function (begin text); COPY a FROM PROGRAM $$id$$', 'COPY'],
    ...['COMMIT', 'END', 'ATTACH $$x$$ AS y'].flatMap((hidden): [SqlDialect, string, string][] => [
      ...['TRIGGER begin AFTER INSERT ON a', 'TRIGGER t AFTER UPDATE OF begin ON a WHEN begin'].map(
        (head): [SqlDialect, string, string] => [
          'sqlite',
          `CREATE ${head} BEGIN SELECT 1; END; ${hidden}; SELECT 1 AS end;`,
          `${hidden.split(' ')[0]} is refused:`,
        ],
      ),
    ]),
    ...['COMMIT', 'END', `COPY t FROM PROGRAM 'id'`].flatMap((hidden): [SqlDialect, string, string][] =>
      [
        'FUNCTION f(begin int) RETURNS int LANGUAGE sql RETURN 1',
        'FUNCTION f(int DEFAULT (SELECT begin atomic FROM a)) RETURNS int LANGUAGE sql RETURN 1',
        'FUNCTION f() RETURNS begin LANGUAGE sql BEGIN ATOMIC SELECT 1 AS begin; END',
        'FUNCTION f() RETURNS void BEGIN ATOMIC END',
        'RULE r AS ON INSERT TO a DO ALSO (DELETE FROM b; DELETE FROM c)',
      ].map((head) => [
        'postgres',
        `CREATE ${head}; ${hidden}; SELECT 1 AS end;`,
        `${hidden.split(' ')[0]} is refused:`,
      ]),
    ),
    [
      'sqlite',
      'CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; COMMIT; END',
      'COMMIT is refused in the body',
    ],
    ['sqlite', 'CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2', 'never ends'],
    ['postgres', 'CREATE FUNCTION f() RETURNS int BEGIN ATOMIC COMMIT; END', 'COMMIT is refused in the body'],
    ['postgres', 'CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1', 'never ends'],
    ['postgres', 'CREATE RULE r AS ON INSERT TO a DO (SELECT 1; COMMIT)', 'COMMIT is refused in the body'],
    ['postgres', 'CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT 2', 'never close'],
    ['postgres', `SELECT E'a'\n'\\' ' ; COPY t FROM PROGRAM $$id$$ ; --'`, 'goes on'],
    ['postgres', `SELECT E'a' -- b\n 'c'`, 'goes on'],
    ['postgres', `SELECT 1 AS a\u00a0E'\\'; COPY t FROM PROGRAM $$id$$ --'`, 'COPY'],
    ['postgres', `DO $$ BEGIN EXECUTE 'COM' || 'MIT'; END $$`, 'put together'],
    ['postgres', `DO $$ DECLARE s text := 'hxo_' || 'ledger'; BEGIN EXECUTE s; END $$`, 'put together'],
    ['postgres', `DO $$ BEGIN EXECUTE format('DELETE FROM %I', 'hxo_' || 'ledger'); END $$`, 'put together'],
    ['postgres', `DO $$ BEGIN EXECUTE ('SELECT 1'); END $$`, 'put together'],
    ['postgres', `DO $$ BEGIN EXECUTE $1; EXECUTE U&'\\0043OMMIT'; END $$`, 'put together'],
    ['postgres', `DO $$ BEGIN FOR r IN EXECUTE 'SELECT ' || 1 LOOP END LOOP; END $$`, 'put together'],
    ['postgres', 'DO $$ DECLARE function text; BEGIN EXECUTE function; END $$', 'put together'],
    ['postgres', `DO $$ BEGIN EXECUTE 'COMMIT'; END $$`, 'COMMIT'],
    ['postgres', `DO $$ BEGIN EXECUTE E'\\103OMMIT' USING a; END $$`, 'COMMIT'],
    ['postgres', `DO $$ BEGIN EXECUTE $x$ DO 'BEGIN EXECUTE a; END' $x$; END $$`, 'put together'],
    ['postgres', `DO $$ BEGIN EXECUTE 'SELECT ''a'; END $$`, 'never ends'],
    ['postgres', `DO 'BEGIN EXE'\n'CUTE a; END'`, 'put together'],
    ['postgres', `DO E'BEGIN \\105XECUTE a; END'`, 'put together'],
    ['postgres', `DO U&'BEGIN \\0045XECUTE a; END'`, "U&'…'"],
    ['postgres', `DO $$ BEGIN PERFORM E'a'\n'b'; EXECUTE a; END $$`, 'goes on'],
    ['postgres', `DO LANGUAGE plpython3u $$ plpy.execute("COM" + "MIT") $$`, 'plpgsql'],
    [
      'postgres',
      `CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE ''COMMIT''; END'`,
      'COMMIT',
    ],
    ['postgres', `SELECT query_to_xml('SELECT pg_read_' || 'file(1)', true, true, '')`, 'query_to_xml'],
    ['postgres', `SELECT pg_catalog."query_to_xmlschema"('x', true, true, '')`, 'query_to_xmlschema'],
    ['postgres', `SELECT query_to_xml_and_xmlschema('x', true, true, '')`, 'query_to_xml_and_xmlschema'],
    ['postgres', `SELECT * FROM ts_stat('SELECT 1')`, 'ts_stat'],
    ['postgres', `SELECT dblink_exec('dbname=app', 'COMMIT')`, 'dblink_exec'],
    ['postgres', `DO $$ BEGIN PERFORM dblink('x'); END $$`, 'dblink'],
    ['postgres', `SELECT * FROM crosstab('SELECT 1')`, 'crosstab'],
    ['postgres', 'SET standard_conforming_strings = off', 'standard_conforming_strings'],
    ['postgres', 'SET LOCAL "standard_conforming_strings" TO DEFAULT', 'standard_conforming_strings'],
    ['postgres', `SET SESSION backslash_quote TO 'on'`, 'backslash_quote'],
    ['postgres', 'RESET standard_conforming_strings', 'standard_conforming_strings'],
    ['postgres', `SET client_encoding = 'SJIS'`, 'client_encoding'],
    ['postgres', `SET NAMES 'SJIS'`, 'names'],
    ['postgres', 'RESET ALL', 'RESET ALL'],
    ['postgres', 'DISCARD ALL', 'DISCARD ALL'],
    [
      'postgres',
      `SELECT set_config('Standard_Conforming_Strings', 'off', false)`,
      'standard_conforming_strings',
    ],
    ['postgres', `SELECT pg_catalog.set_config('standard_' || a, 'off', false)`, 'set_config'],
    [
      'postgres',
      'CREATE FUNCTION f() RETURNS int LANGUAGE sql SET backslash_quote = on AS $$ SELECT 1 $$',
      'backslash_quote',
    ],
    [
      'postgres',
      'DO $$ BEGIN SET LOCAL standard_conforming_strings = off; END $$',
      'standard_conforming_strings',
    ],
    ['postgres', 'ALTER ROLE a SET standard_conforming_strings = off', 'standard_conforming_strings'],
    ['postgres', `UPDATE pg_settings SET setting = 'off' WHERE name = 'backslash_quote'`, 'pg_settings'],
    ['postgres', `UPDATE ONLY pg_catalog."pg_settings" AS s SET setting = 'off'`, 'pg_settings'],
  ])('of %s: %s', (dialect, sql, word) => expect(refused(sql, dialect)).toContain(word));

  it.each<[SqlDialect, string]>([
    ['postgres', `INSERT INTO notes VALUES ('COMMIT; COPY x FROM PROGRAM; pg_read_file; hxo_ledger')`],
    ['postgres', 'SELECT 1 -- COMMIT\n; /* ROLLBACK */ SELECT 2'],
    ['postgres', 'DO $$ BEGIN PERFORM 1; END $$'],
    ['sqlite', 'CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END; SELECT 2'],
    ['sqlite', 'CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT NEW.end, NEW.begin; END; SELECT 2'],
    ['sqlite', 'CREATE TRIGGER begin AFTER INSERT ON a WHEN 1 BEGIN SELECT 1 AS end; SELECT 2 AS begin; END'],
    ['postgres', 'CREATE FUNCTION f(begin date, "end" date) RETURNS int LANGUAGE sql RETURN 1; SELECT 2'],
    ['postgres', 'CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT a.begin AS end FROM a; RETURN 1; END'],
    ['postgres', `SELECT E'a', 'b'`],
    ['sqlite', 'PRAGMA user_version = 3; PRAGMA foreign_keys; PRAGMA main.foreign_keys(ON)'],
    ['postgres', 'ALTER TABLE a ADD COLUMN "commit" int; CREATE INDEX i ON a (copy)'],
    [
      'postgres',
      `DO $$ BEGIN EXECUTE 'CREATE INDEX i ON a (b)'; EXECUTE $x$UPDATE a SET b = $1$x$ USING 1; END $$`,
    ],
    [
      'postgres',
      `DO $$ BEGIN EXECUTE 'SELECT 1' INTO STRICT n; FOR r IN EXECUTE 'SELECT 1' LOOP END LOOP; END $$`,
    ],
    [
      'postgres',
      'DO $$ BEGIN GRANT EXECUTE ON FUNCTION f TO a; CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f(); END $$',
    ],
    ['postgres', 'DO $$ BEGIN UPDATE a SET b = a.execute; END $$ LANGUAGE plpgsql'],
    [
      'postgres',
      `CREATE FUNCTION f(a text DEFAULT 'it''s') RETURNS void AS $$ BEGIN EXECUTE format('DROP TABLE %I', a); END $$ LANGUAGE plpgsql`,
    ],
    ['postgres', 'CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW EXECUTE PROCEDURE f()'],
    ['postgres', `PREPARE p AS SELECT 1; EXECUTE p; INSERT INTO a VALUES ('EXECUTE ' || 'query_to_xml')`],
    [
      'postgres',
      `SET statement_timeout = 0; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; SET NAMES 'utf-8'`,
    ],
    ['postgres', `SELECT pg_catalog.set_config('search_path', '', false); SHOW client_encoding; RESET ROLE`],
    ['postgres', 'UPDATE a SET b = setting FROM pg_settings; SELECT setting FROM pg_catalog.pg_settings'],
    ['postgres', `UPDATE a SET names = 'b', client = U&'\\2603'; SELECT a.client_encoding FROM a`],
    ['postgres', `DO $$ BEGIN RAISE NOTICE 'please reset all counters, or set names of them'; END $$`],
  ])('lets pass in %s: %s', (dialect, sql) => expect(refused(sql, dialect)).toBeNull());

  it('knows the lane without transactions by its first line', () => {
    expect(runsOutsideTransaction('-- hxo: no-transaction\r\nVACUUM')).toBe(true);
    expect(runsOutsideTransaction('\n-- hxo: no-transaction\nVACUUM')).toBe(false);
    for (const pragma of ['journal_mode = wal', 'foreign_keys = off'])
      expect(refusalOf(`PRAGMA ${pragma}`, 'sqlite', { in_transaction: false })).toBeNull();
  });
});
