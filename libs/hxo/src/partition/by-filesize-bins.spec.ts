import fc from 'fast-check';
import {
  cutBetweenFiles,
  cutIntoBins,
  type Bin,
  type BinLimits,
  type SizedFile,
  type WholeFiles,
} from './by-filesize-bins.js';

const limits: BinLimits = { bytes: 100, files: 8 };

/** Listings with empty files, files that just fit, and files larger than a bin. */
const listing = fc
  .uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { maxLength: 120 })
  .chain((paths) =>
    fc.tuple(
      ...paths.sort().map((path) =>
        fc.record({
          path: fc.constant(path),
          bytes: fc.oneof(fc.nat(30), fc.constantFrom(0, 99, 100, 101), fc.integer({ min: 0, max: 350 })),
        }),
      ),
    ),
  );

const cut = (files: readonly SizedFile[]): Bin[] => [...cutIntoBins(files, limits)];

/** What makes a shard's content id: the names and sizes in a bin. */
function contents(files: readonly SizedFile[], bins: readonly Bin[]): string[] {
  return bins.map((bin) =>
    JSON.stringify('file' in bin ? [files[bin.file], bin] : files.slice(bin.from, bin.to)),
  );
}

/** The files in bins of `ours` that are not among `theirs`, as [first, last], or null when all are. */
function changedSpan(
  files: readonly SizedFile[],
  ours: readonly Bin[],
  theirs: readonly string[],
): [number, number] | null {
  const known = new Set(theirs);
  const mine = contents(files, ours);
  const changed = ours.filter((_, i) => !known.has(mine[i]!));
  if (changed.length === 0) return null;
  const [first, last] = [changed[0]!, changed.at(-1)!];
  return ['file' in first ? first.file : first.from, 'file' in last ? last.file : last.to - 1];
}

describe('cutIntoBins', () => {
  it('tiles every byte of every file once, in order, within the limits', () => {
    fc.assert(
      fc.property(listing, (files) => {
        let file = 0;
        let offset = 0;
        for (const bin of cut(files)) {
          if ('file' in bin) {
            expect([bin.file, bin.offset]).toEqual([file, offset]);
            expect(bin.length).toBeGreaterThan(0);
            expect(bin.length).toBeLessThanOrEqual(limits.bytes);
            expect(bin.offset % limits.bytes).toBe(0);
            expect(files[file]!.bytes).toBeGreaterThan(limits.bytes);
            offset += bin.length;
            if (offset === files[file]!.bytes) [file, offset] = [file + 1, 0];
          } else {
            expect([bin.from, 0]).toEqual([file, offset]);
            const held = files.slice(bin.from, bin.to);
            expect(held.length).toBeGreaterThan(0);
            expect(held.length).toBeLessThanOrEqual(limits.files);
            expect(held.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(limits.bytes);
            file = bin.to;
          }
        }
        expect([file, offset]).toEqual([files.length, 0]);
      }),
    );
  });

  it('gives the same bins for the same listing', () => {
    fc.assert(
      fc.property(listing, (files) => expect(cut(files)).toEqual(cut(files.map((file) => ({ ...file }))))),
    );
  });

  it('moves cut points inside one bin at most when a small file gets another small size', () => {
    const edit = fc.tuple(listing, fc.nat(), fc.nat(limits.bytes));
    fc.assert(
      fc.property(edit, ([files, pick, bytes]) => {
        const at = files.length === 0 ? -1 : pick % files.length;
        fc.pre(at >= 0 && files[at]!.bytes <= limits.bytes);
        const edited = files.map((file, i) => (i === at ? { ...file, bytes } : file));
        const [before, after] = [cut(files), cut(edited)];
        // All that differs is one bin of before or one bin of after, and what the other side put in its place.
        const gone = before.filter(isWhole).filter((bin) => !has(after, bin));
        const come = after.filter(isWhole).filter((bin) => !has(before, bin));
        expect(Math.min(gone.length, come.length)).toBeLessThanOrEqual(1);
        const same = gone.length === 0 && come.length === 0;
        expect(contents(edited, after).filter((bin) => !contents(files, before).includes(bin))).toHaveLength(
          same && bytes === files[at]!.bytes ? 0 : same ? 1 : come.length,
        );
        if (same) return;
        const [outer, inner] = gone.length === 1 ? [gone[0]!, come] : [come[0]!, gone];
        expect(inner[0]!.from).toBe(outer.from);
        expect(inner.at(-1)!.to).toBe(outer.to);
        expect(outer.from <= at && at < outer.to).toBe(true);
      }),
    );
  });

  it('leaves all but a neighbourhood as it was when a file grows beyond a bin or shrinks into one', () => {
    fc.assert(
      fc.property(listing, fc.nat(), fc.integer({ min: 101, max: 350 }), ([...files], pick, bytes) => {
        fc.pre(files.length > 0);
        const at = pick % files.length;
        const edited = files.map((file, i) => (i === at ? { ...file, bytes } : file));
        const [before, after] = [cut(files), cut(edited)];
        const span = changedSpan(files, before, contents(edited, after));
        if (span === null) return;
        // On each side at most one bin's worth of files is cut anew.
        const left = files.slice(span[0], at);
        const right = files.slice(at + 1, span[1] + 1);
        for (const side of [left, right]) {
          expect(side.length).toBeLessThanOrEqual(limits.files);
          expect(side.reduce((sum, file) => sum + file.bytes, 0)).toBeLessThanOrEqual(limits.bytes);
        }
      }),
    );
  });

  it('disturbs few bins when files come and go, and fills bins about half', () => {
    const files = Array.from({ length: 2000 }, (_, i) => ({
      path: `src/${String(i).padStart(5, '0')}.ts`,
      bytes: 5 + (i % 20),
    }));
    const before = contents(files, cut(files));
    const known = new Set(before);
    let most = 0;
    let total = 0;
    for (let at = 0; at < 2000; at += 20) {
      const without = files.filter((_, i) => i !== at);
      const executed = contents(without, cut(without)).filter((bin) => !known.has(bin)).length;
      most = Math.max(most, executed);
      total += executed;
    }
    expect(total / 100).toBeLessThan(1.5);
    expect(most).toBeLessThanOrEqual(6);
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    expect(before.length).toBeLessThan((2.5 * bytes) / limits.bytes);
  });

  it('cuts 100,000 files, each into a bin of its own', () => {
    const files = Array.from({ length: 100_000 }, (_, i) => ({ path: `f${i}`, bytes: 60 }));
    expect(cut(files)).toHaveLength(100_000);
  });
});

describe('cutBetweenFiles', () => {
  it('cuts where cutIntoBins does, and leaves a large file whole and alone', () => {
    fc.assert(
      fc.property(listing, (files) => {
        const expected: WholeFiles[] = [];
        for (const bin of cut(files)) {
          if (isWhole(bin)) expected.push(bin);
          else if (bin.offset === 0) expected.push({ from: bin.file, to: bin.file + 1 });
        }
        expect([...cutBetweenFiles(files, limits)]).toEqual(expected);
      }),
    );
  });
});

function isWhole(bin: Bin): bin is WholeFiles {
  return 'from' in bin;
}

function has(bins: readonly Bin[], bin: WholeFiles): boolean {
  return bins.some((other) => isWhole(other) && other.from === bin.from && other.to === bin.to);
}
