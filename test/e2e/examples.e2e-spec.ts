import { readdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { DocumentedServer, itWith } from './documented-server.js';
import { readDocument } from './documents.js';

/** Every plan of examples/, submitted as examples/README.md says, with this project as the workspace. Runs from dist. */

const readme = readDocument('examples/README.md');
const plans = readdirSync('examples').filter((name) => name.endsWith('.json'));
const [touch, start, ...submits] = readme.commands;
let hxo: DocumentedServer;

beforeAll(() => {
  const [, target] = /^(\S+) npm start$/.exec(start!)!;
  const [variable, url] = target!.split('=') as [string, string];
  hxo = new DocumentedServer({ [variable]: url, HXO_WORKSPACE: resolve('.'), HXO_EXECUTORS: '' }, {});
  symlinkSync(resolve('examples'), join(hxo.folder, 'examples'));
});
afterAll(() => hxo?.stop());

it('every plan is listed, and submitted', () => {
  expect(readme.tables[0]!.map(([cell]) => cell!.replaceAll('`', '')).sort()).toEqual(plans.sort());
  expect(submits.map((command) => / examples\/(\S+) /.exec(command)![1]).sort()).toEqual(plans);
});

itWith('bash npx')(
  'every plan succeeds',
  async () => {
    expect(await hxo.bash(touch!)).toMatchObject({ code: 0 });
    await hxo.start();
    for (const command of submits) {
      const { code, stdout, stderr } = await hxo.run(command);
      expect({ command, code, failed: code === 0 ? '' : stdout + stderr }).toEqual({
        command,
        code: 0,
        failed: '',
      });
    }
    const db = new Database(`${hxo.folder}/customers.db`, { readonly: true });
    const filled = 'SELECT count(*) FROM customer WHERE email_key = lower(email)';
    expect(db.prepare(filled).pluck().get()).toBe(20_000);
    db.close();
    expect(await hxo.planIds()).toHaveLength(plans.length);
  },
  120_000,
);
