import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { createLog } from './log.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'hxo-log-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** A stdout whose reader has gone when `error` is given. */
class Output extends Writable {
  text = '';
  constructor(private readonly error: Error | null = null) {
    super({ autoDestroy: false });
  }
  override _write(chunk: Buffer, _encoding: string, done: (error: Error | null) => void): void {
    if (this.error === null) this.text += chunk.toString();
    done(this.error);
  }
}

const messages = (text: string): string[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { msg: string }).msg);

it('writes to stdout and to its file', () => {
  const stdout = new Output();
  const log_file = join(folder, 'logs/app.log');
  createLog({ log_file, log_level: 'info' }, stdout).info('ready', { port: 1 });
  expect(messages(stdout.text)).toEqual(['[HXO] ready']);
  expect(readFileSync(log_file, 'utf8')).toBe(stdout.text);
});

it('goes on when the disk of its file is full, and says so once on stdout', async () => {
  const stdout = new Output();
  const log = createLog({ log_file: '/dev/full', log_level: 'info' }, stdout);
  for (const message of ['one', 'two', 'x'.repeat(2_000_000), 'three']) log.info(message);
  await turn();
  const said = messages(stdout.text);
  expect(said.filter((message) => message.length < 100)).toEqual([
    '[HXO] The log file /dev/full cannot be written: free disk space.',
    '[HXO] one',
    '[HXO] two',
    '[HXO] three',
  ]);
});

it.each(['with a file', 'without one'])('goes on when the reader of stdout has gone, %s', async (which) => {
  const stdout = new Output(new Error('write EPIPE'));
  const log_file = which === 'with a file' ? join(folder, 'app.log') : null;
  const log = createLog({ log_file, log_level: 'info' }, stdout);
  for (const message of ['one', 'two']) {
    log.info(message);
    await turn();
  }
  if (log_file === null) return;
  expect(messages(readFileSync(log_file, 'utf8'))).toEqual([
    '[HXO] one',
    '[HXO] stdout cannot be written (write EPIPE): the log goes on in its file only.',
    '[HXO] two',
  ]);
});
