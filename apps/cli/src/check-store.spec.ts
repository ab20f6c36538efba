import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkStore, storeVerdictText } from './check-store.js';

const folder = mkdtempSync(join(tmpdir(), 'hxo-check-store-'));
const { publicKey } = generateKeyPairSync('ed25519');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('trusts nothing without a key', async () => {
  const verdict = await checkStore(join(folder, 'none.db'), folder, []);
  expect(verdict).toMatchObject({ ok: false, findings: [{ plan_id: null, what: 'key' }] });
});

it('finds a store that is missing, or is none', async () => {
  const missing = await checkStore(join(folder, 'none.db'), folder, [publicKey]);
  expect(storeVerdictText(missing)).toMatch(
    /^FAILED {2}store: .*none\.db cannot be opened: .+\nNOT verified/,
  );
  const rubbish = join(folder, 'rubbish.db');
  writeFileSync(rubbish, 'no database'.repeat(1000));
  const none = await checkStore(rubbish, folder, [publicKey]);
  expect(storeVerdictText(none)).toMatch(/^FAILED {2}store: .*rubbish\.db cannot be .+\nNOT verified/);
});

it('puts findings and the conclusion in words', () => {
  const counts = { plans: 2, rows: 30, artifacts: 4 };
  expect(storeVerdictText({ ok: true, ...counts, findings: [] })).toBe(
    'Verified: 2 certified plans, 30 rows and 4 artifacts are as they were signed.',
  );
  expect(storeVerdictText({ ok: true, plans: 1, rows: 1, artifacts: 1, findings: [] })).toMatch(
    '1 certified plan, 1 row and 1 artifact are',
  );
  const findings = [{ plan_id: 'p', what: 'result 7 of stage pack', detail: 'Altered.' }];
  expect(storeVerdictText({ ok: false, ...counts, findings })).toBe(
    'FAILED  plan p, result 7 of stage pack: Altered.\nNOT verified: do not trust this store.',
  );
});
