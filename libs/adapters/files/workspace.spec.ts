import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { FileChanged, WorkspacePathError, sha256, type FileRange, type ListingOptions } from '#hxo/execute';
import { createWorkspace } from './workspace.js';
import { compareBytewise } from './walk.js';

const everything: ListingOptions = { root: '.', include: [], exclude: [], gitignore: true };
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'hxo-workspace-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, text = path): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

async function list(options: Partial<ListingOptions> = {}, forbidden: string[] = []): Promise<string[]> {
  const files = await createWorkspace({ root, forbidden }).list({ ...everything, ...options });
  return files.map((file) => file.path);
}

/** What git itself would add, in bytewise order. */
function gitList(): string[] {
  const out = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], {
    cwd: root,
    env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' },
  });
  return out.toString().split('\0').filter(Boolean).sort(compareBytewise);
}

describe('listing', () => {
  it('orders by the UTF-8 bytes of the whole path, and tells size and executable bit', async () => {
    for (const path of ['a/b', 'a.txt', 'a-b/c', 'ab', 'é', '\u{1f600}', '\uffee', 'B']) write(path);
    chmodSync(join(root, 'ab'), 0o755);
    const files = await createWorkspace({ root, forbidden: [] }).list(everything);
    const bytewise = files
      .map((file) => file.path)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(files.map((file) => file.path)).toEqual(bytewise);
    expect(bytewise).toEqual(['B', 'a-b/c', 'a.txt', 'a/b', 'ab', 'é', '\uffee', '\u{1f600}']);
    expect(files.find((file) => file.path === 'ab')).toEqual({ path: 'ab', bytes: 2, executable: true });
    expect(files.find((file) => file.path === 'a.txt')).toEqual({
      path: 'a.txt',
      bytes: 5,
      executable: false,
    });
  });

  it('compares as Buffer.compare does', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        expect(Math.sign(compareBytewise(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
    );
  });

  it('never lists .git, .env files, forbidden places, symbolic links or FIFOs', async () => {
    for (const path of [
      '.git/config',
      'sub/.git',
      '.env',
      '.env.local',
      'sub/.envrc',
      'home/db',
      'sub/.hxo/keys/signing.pem',
      'logs/app.log',
      'ok',
    ])
      write(path);
    symlinkSync('ok', join(root, 'link'));
    symlinkSync('/etc', join(root, 'etc'));
    execFileSync('mkfifo', [join(root, 'fifo')]);
    linkSync(join(root, 'ok'), join(root, 'hard'));
    const forbidden = [join(root, 'home'), join(root, 'logs/app.log'), join(root, 'not/yet')];
    expect(await list({ gitignore: false }, forbidden)).toEqual(['hard', 'ok']);
  });

  it('never lists nor reads databases with their journals, nor logs that were rotated', async () => {
    const closed = [
      ...['app.db', 'app.db-wal', 'app.db-shm', 'app.db-journal', 'real/linked.db', 'real/linked.db-wal'],
      ...['logs/app.log', 'logs/app.log.1', 'logs/app.log.2.gz', 'logs/app.log-20260131', 'logs/app.log.old'],
    ];
    const open = ['app.db-notes.md', 'app.db.sql', 'logs/app.log.md', 'logs/app.logs'];
    for (const path of [...closed, ...open]) write(path);
    symlinkSync('real/linked.db', join(root, 'link.db'));
    const workspace = createWorkspace({
      root,
      forbidden: [],
      databases: [join(root, 'app.db'), join(root, 'link.db')],
      logs: [join(root, 'logs/app.log')],
    });
    expect((await workspace.list(everything)).map(({ path }) => path)).toEqual(open);
    for (const path of closed) {
      const file = { root: '.', path, expected_bytes: path.length, offset: 0, length: path.length };
      await expect(workspace.digest(file)).rejects.toThrow(WorkspacePathError);
    }
  });

  it('takes globs relative to its root, a folder standing for all below it', async () => {
    for (const path of ['src/a.ts', 'src/deep/b.ts', 'src/deep/c.md', 'src/.hidden/d.ts', 'top.ts'])
      write(path);
    expect(await list({ include: ['**/*.ts'] })).toEqual([
      'src/.hidden/d.ts',
      'src/a.ts',
      'src/deep/b.ts',
      'top.ts',
    ]);
    expect(await list({ include: ['src/deep/'] })).toEqual(['src/deep/b.ts', 'src/deep/c.md']);
    expect(await list({ root: 'src', include: ['./deep'], exclude: ['**/*.md'] })).toEqual(['deep/b.ts']);
    expect(await list({ exclude: ['src'] })).toEqual(['top.ts']);
  });

  it('refuses names that would not survive, unless they are left out', async () => {
    write('ok');
    writeFileSync(Buffer.concat([Buffer.from(root + '/bad-'), Buffer.from([0xff, 0xfe])]), 'x');
    await expect(list()).rejects.toThrow(WorkspacePathError);
    expect(await list({ exclude: ['bad-*'] })).toEqual(['ok']);
    rmSync(root, { recursive: true });
    write('line\nbreak');
    await expect(list()).rejects.toThrow('"line\\nbreak" has a name');
  });

  it.each(['../', '/etc', 'a/../..', 'missing', 'file', 'link', '.git', 'nul\0'])(
    'refuses the root %j',
    async (path) => {
      write('file');
      symlinkSync('.', join(root, 'link'));
      await expect(list({ root: path })).rejects.toThrow(WorkspacePathError);
    },
  );

  it('refuses a workspace inside HXO, or one that is no folder', () => {
    expect(() => createWorkspace({ root, forbidden: [dirname(root)] })).toThrow('HXO_WORKSPACE');
    expect(() => createWorkspace({ root: join(root, 'no'), forbidden: [] })).toThrow('HXO_WORKSPACE');
  });
});

describe('.gitignore', () => {
  it('follows git through nesting, negation, anchors and odd folder names', async () => {
    execFileSync('git', ['init', '-q'], { cwd: root });
    write(
      '.gitignore',
      '\uFEFF# comment\r\nbuild/\r\n*.log\n/b/coverage/*\n!/b/coverage/x/\n/only-here\n/\n\\!bang\ntail \n',
    );
    write('a/.gitignore', '!build/\n!keep.log\nsub/*.tmp\n\\#hash\n');
    write('a [1]/.gitignore', '*.txt\n!/in.txt\n/c?t\n');
    write('a/deep/node_modules/.gitignore', '*.md\n');
    for (const path of [
      'a/build/x',
      'b/build/x',
      'build',
      'a/keep.log',
      'a/other.log',
      'b/keep.log',
      'b/coverage/y',
      'b/coverage/x/k',
      'only-here',
      'a/only-here',
      'a/sub/1.tmp',
      'a/2.tmp',
      'a/x/sub/3.tmp',
      'a/#hash',
      'a/x/#hash',
      '!bang',
      'tail',
      'a [1]/in.txt',
      'a [1]/out.txt',
      'a [1]/d/in.txt',
      'a [1]/cat',
      'a 1/out.txt',
      'a/deep/node_modules/r.md',
      'a/deep/node_modules/s.js',
    ].filter((path) => path !== 'build'))
      // prettier-ignore
      write(path);
    write('a/file/build', 'a file, not a folder');
    expect(await list()).toEqual(gitList());
    expect((await list({ gitignore: false })).length).toBeGreaterThan(gitList().length);
  });

  it('lists a folder below with the rules of the folders above', async () => {
    write('.gitignore', '*.log\n/a/x/*.txt\n');
    for (const path of ['a/x/1.txt', 'a/x/2.md', 'a/x/3.log']) write(path);
    expect(await list({ root: 'a/x' })).toEqual(['2.md']);
  });

  it('lists what git lists, on generated trees', async () => {
    const name = fc.constantFrom('a', 'b', 'c.log', 'd-1');
    const folder = fc
      .array(fc.constantFrom('a', 'b', 'd-1'), { maxLength: 2 })
      .map((names) => names.join('/'));
    const pattern = fc
      .tuple(
        fc.constantFrom('', '', '!'),
        fc.constantFrom('', '/', '**/'),
        fc.constantFrom('a', 'b', '*.log', 'd-?', '*', 'a/b', 'a/*', 'b/**', '**', '[a-c]'),
        fc.constantFrom('', '', '/'),
      )
      .map((parts) => parts.join(''));
    const files = fc.uniqueArray(
      fc.tuple(folder, name).map(([dir, file]) => (dir === '' ? file : `${dir}/${file}`)),
      {
        minLength: 3,
        maxLength: 16,
      },
    );
    const ignores = fc.dictionary(folder, fc.array(pattern, { minLength: 1, maxLength: 4 }), { maxKeys: 3 });
    const fixed = root;
    let run = 0;
    await fc.assert(
      fc.asyncProperty(files, ignores, async (paths, texts) => {
        root = join(fixed, `run-${run++}`);
        mkdirSync(root);
        execFileSync('git', ['init', '-q'], { cwd: root });
        const leaves = paths.filter((path) => !paths.some((other) => other.startsWith(path + '/')));
        for (const path of leaves) write(path);
        for (const [dir, lines] of Object.entries(texts)) {
          if (!leaves.some((path) => path === dir || dir.startsWith(path + '/')))
            write(join(dir, '.gitignore'), lines.join('\n'));
        }
        expect(await list()).toEqual(gitList());
      }),
      { numRuns: 60 },
    );
    root = fixed;
  });
});

describe('reading', () => {
  async function read(
    path: string,
    bytes: number,
    offset = 0,
    length = bytes,
    folder = '.',
  ): Promise<string> {
    const workspace = createWorkspace({ root, forbidden: [join(root, 'hxo')] });
    const chunks: Uint8Array[] = [];
    for await (const chunk of workspace.read({ root: folder, path, expected_bytes: bytes, offset, length })) {
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  }

  it('reads whole files and ranges', async () => {
    write('a/file', '0123456789');
    write('empty', '');
    expect(await read('file', 10, 0, 10, 'a')).toBe('0123456789');
    expect(await read('a/file', 10, 3, 4)).toBe('3456');
    expect(await read('empty', 0)).toBe('');
  });

  it('reads a large file in chunks of at most 1 MiB', async () => {
    write('large', 'x'.repeat(3_000_000));
    const workspace = createWorkspace({ root, forbidden: [] });
    let total = 0;
    const file = { root: '.', path: 'large', expected_bytes: 3_000_000, offset: 0, length: 3_000_000 };
    for await (const chunk of workspace.read(file)) {
      expect(chunk.length).toBeLessThanOrEqual(1 << 20);
      total += chunk.length;
    }
    expect(total).toBe(3_000_000);
  });

  it('reads into the memory that it is given', async () => {
    write('file', '0123456789');
    const into = Buffer.alloc(4);
    const file = { root: '.', path: 'file', expected_bytes: 10, offset: 0, length: 10 };
    const seen: string[] = [];
    for await (const chunk of createWorkspace({ root, forbidden: [] }).read(file, into)) {
      expect(chunk.buffer).toBe(into.buffer);
      seen.push(Buffer.from(chunk).toString());
    }
    expect(seen).toEqual(['0123', '4567', '89']);
  });

  it('refuses all that is not a regular file inside', async () => {
    write('real/file');
    write('hxo/key');
    write('.env');
    symlinkSync('real/file', join(root, 'link'));
    symlinkSync('real', join(root, 'folder-link'));
    execFileSync('mkfifo', [join(root, 'fifo')]);
    const paths = [
      '../x',
      '/etc/passwd',
      'real/../../x',
      'link',
      'folder-link/file',
      'fifo',
      'hxo/key',
      '.env',
      'real',
      'no',
    ];
    for (const path of paths) await expect(read(path, 9)).rejects.toThrow(WorkspacePathError);
  });

  it('notices a file of another size, and one that is written to meanwhile', async () => {
    write('file', 'x'.repeat(1_000_000));
    await expect(read('file', 999_999)).rejects.toThrow(FileChanged);
    const workspace = createWorkspace({ root, forbidden: [] });
    const file = { root: '.', path: 'file', expected_bytes: 1_000_000, offset: 0, length: 1_000_000 };
    const touched = (async () => {
      let seen = 0;
      for await (const chunk of workspace.read(file)) {
        seen += chunk.length;
        utimesSync(join(root, 'file'), 1, seen);
      }
    })();
    await expect(touched).rejects.toThrow('Submit the plan again');
  });

  it('reads the file that it opened, even when the name goes elsewhere', async () => {
    write('file', 'x'.repeat(600_000));
    const workspace = createWorkspace({ root, forbidden: [] });
    const chunks = workspace.read({
      root: '.',
      path: 'file',
      expected_bytes: 600_000,
      offset: 0,
      length: 600_000,
    });
    let text = '';
    for await (const chunk of chunks) {
      if (text === '') renameSync(join(root, 'file'), join(root, 'moved'));
      text += Buffer.from(chunk).toString();
    }
    expect(text).toBe('x'.repeat(600_000));
  });
});

describe('hashing', () => {
  const whole = (path: string, bytes: number): FileRange => ({
    root: '.',
    path,
    expected_bytes: bytes,
    offset: 0,
    length: bytes,
  });

  it('tells the SHA-256 of files and ranges, however many are hashed at once', async () => {
    const texts = Array.from({ length: 8 }, (_, i) => `${i}`.repeat(i * 400_000));
    for (const [i, text] of texts.entries()) write(`file-${i}`, text);
    const workspace = createWorkspace({ root, forbidden: [] });
    const digests = texts.map((text, i) => workspace.digest(whole(`file-${i}`, text.length)));
    expect(await Promise.all(digests)).toEqual(texts.map((text) => sha256(text)));
    write('range', '0123456789');
    const range = { ...whole('range', 10), offset: 3, length: 4 };
    expect(await workspace.digest(range)).toBe(sha256('3456'));
  });

  it('refuses what reading refuses', async () => {
    write('file', 'x');
    symlinkSync('file', join(root, 'link'));
    const workspace = createWorkspace({ root, forbidden: [] });
    await expect(workspace.digest(whole('file', 2))).rejects.toThrow(FileChanged);
    for (const path of ['link', '../x', 'no'])
      await expect(workspace.digest(whole(path, 1))).rejects.toThrow(WorkspacePathError);
  });

  it('notices a file that is written to meanwhile', async () => {
    write('large');
    truncateSync(join(root, 'large'), 500_000_000);
    const hashing = createWorkspace({ root, forbidden: [] }).digest(whole('large', 500_000_000));
    setTimeout(() => utimesSync(join(root, 'large'), 1, 1), 20);
    await expect(hashing).rejects.toThrow(FileChanged);
  });
});

describe('turns', () => {
  const bytes = 20_000_000_000;
  const readAll = async (signal: AbortSignal): Promise<void> => {
    const workspace = createWorkspace({ root, forbidden: [] }, signal);
    const file = { root: '.', path: 'large', expected_bytes: bytes, offset: 0, length: bytes };
    for await (const chunk of workspace.read(file)) expect(chunk.length).toBeGreaterThan(0);
  };
  const hashAll = async (signal: AbortSignal): Promise<string> =>
    createWorkspace({ root, forbidden: [] }, signal).digest({
      root: '.',
      path: 'large',
      expected_bytes: bytes,
      offset: 0,
      length: bytes,
    });

  it.each([
    ['read', readAll],
    ['hashed', hashAll],
  ])('are given to others while a large file is %s, and end that once it is aborted', async (_, work) => {
    write('large');
    truncateSync(join(root, 'large'), bytes);
    const abort = new AbortController();
    const reading = work(abort.signal);
    const over = new Error('aborted');
    setTimeout(() => abort.abort(over), 50);
    await expect(reading).rejects.toBe(over);
  });

  it('end a listing that is aborted', async () => {
    for (let i = 0; i < 3_000; i++) write(`d${i % 30}/f${i}`, '');
    const over = new Error('aborted');
    const workspace = createWorkspace({ root, forbidden: [] }, AbortSignal.abort(over));
    await new Promise((resolve) => setTimeout(resolve, 10));
    await expect(workspace.list(everything)).rejects.toBe(over);
  });
});
