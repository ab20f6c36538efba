import { spawnSync } from 'node:child_process';

/** What `npm run bench`, `fault` and `demo` answer to arguments. Runs from dist. */
const scripts = {
  bench: 'test/bench/run.mjs',
  fault: 'test/fault/run.mjs',
  demo: 'dist/apps/cli/src/demo.js',
};

function run(script: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

describe.each(Object.entries(scripts))('npm run %s', (name, script) => {
  it('explains itself', () => {
    const { status, stdout, stderr } = run(script, '--help');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain(`Usage: npm run ${name} -- `);
    expect(stdout).toMatch(/^ {2}--help +this text$/m);
  });

  it.each([['--federatd'], ['nothing'], ['--keep=1']])('refuses %s before it does anything', (argument) => {
    const { status, stdout, stderr } = run(script, argument);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(`npm run ${name} -- `);
  });
});
