import { CommandError, exit_codes } from './exit-codes.js';
import { parseYamlPlan } from './plan-file.js';

const refusal = (...errors: { field: string; message: string }[]) =>
  new CommandError(exit_codes.refused, 'INVALID_PLAN', 'The body is not valid.', errors);

it('makes JSON of YAML, aliases and all', () => {
  const source = 'name: &n my_plan\nstages: [{id: *n, slo_ms: 5}]';
  expect(JSON.parse(parseYamlPlan(source).json)).toEqual({
    name: 'my_plan',
    stages: [{ id: 'my_plan', slo_ms: 5 }],
  });
});

it.each([
  ['an empty file', '', 'It is empty'],
  ['a comment only', '# nothing yet\n', 'It is empty'],
  ['two documents', 'name: a\n---\nname: b\n', 'It holds several documents'],
  ['an anchor that holds itself', 'name: a\nstages: &s [*s]\n', 'An anchor (&) holds itself'],
  [
    'aliases that multiply',
    [
      'a: &a [x]',
      ...'bcdefghij'.split('').map((c, i) => `${c}: &${c} [${`*${'abcdefghi'[i]},`.repeat(9)}]`),
    ].join('\n'),
    'Its aliases (*) stand for too much',
  ],
  ['an alias of nothing', 'name: *nobody\n', 'nobody'],
  ['no YAML', 'a: [1', 'at line 1'],
])('says what is wrong with %s', (_what, source, message) => {
  expect(() => parseYamlPlan(source)).toThrow(message);
});

it('says what YAML made of the fields that a server refuses, and how to quote them', () => {
  const source = [
    'name: 2024',
    'stages:',
    '  - id: 0x10',
    '    kind: true',
    '    partitioner:',
    '    dependencies: [a, 1.0]',
    '    config: { root: 7 }',
    '    slo_ms: 1.5',
    '    executor: ""',
  ].join('\n');
  const fields = ['id', 'kind', 'partitioner', 'dependencies', 'config.root', 'executor', 'absent'];
  const given = refusal(
    { field: 'name', message: 'must be a string' },
    ...fields.map((field) => ({ field: `stages[0].${field}`, message: 'is wrong' })),
    { field: 'stages[0].slo_ms', message: 'must be an integer number' },
  );
  const explained = parseYamlPlan(source).explain(given) as CommandError;
  const text = (yaml: string, read: string) =>
    `. YAML reads ${yaml || 'an empty value'} as ${read}: for text, put it in quotes: "${yaml}"`;
  expect(explained).toMatchObject({ exit_code: given.exit_code, code: given.code, message: given.message });
  expect(explained.errors.map(({ message }) => message)).toEqual([
    `must be a string${text('2024', 'the number 2024')}`,
    `is wrong${text('0x10', 'the number 16')}`,
    `is wrong${text('true', 'the boolean true')}`,
    `is wrong${text('', 'nothing (null)')}`,
    `is wrong${text('1.0', 'the number 1')}`,
    `is wrong${text('7', 'the number 7')}`,
    'is wrong',
    'is wrong',
    'must be an integer number',
  ]);
});

it('leaves other errors alone', () => {
  const plan = parseYamlPlan('name: 2024');
  const gone = new Error('gone');
  expect(plan.explain(gone)).toBe(gone);
});
