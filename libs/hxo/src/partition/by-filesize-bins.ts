import { sha256 } from '#truth';

/** What the cut looks at: a file's path and its length in bytes. */
export interface SizedFile {
  readonly path: string;
  readonly bytes: number;
}

/** Most that one bin holds. */
export interface BinLimits {
  readonly bytes: number;
  readonly files: number;
}

/** Whole files `from` to `to` (excluded) of the listing, or `length` bytes from `offset` of one file. */
export type Bin = WholeFiles | { readonly file: number; readonly offset: number; readonly length: number };

/** Files `from` to `to` (excluded) of the listing. */
export interface WholeFiles {
  readonly from: number;
  readonly to: number;
}

/**
 * Cuts a listing into bins, in order; every byte of every file lies in exactly one.
 *
 * A file larger than a bin stands alone and is cut at multiples of `limits.bytes`. The runs of files between such are
 * cut, as long as they do not fit, at the boundary whose priority is smallest; the priority of a boundary is the start
 * of SHA-256(path of the file behind it). So the cut points hang on names, not on what was counted before them:
 *
 * - another content of the same size moves no cut point: one bin changes;
 * - another size moves cut points inside one bin only, the bin that held the file or the one that now does;
 * - a file that grows beyond a bin, or comes or goes, moves them inside its neighbourhood, a few bins.
 *
 * Bins come out about half full on average, which is the price of cut points that hold still.
 * O(n log n) time at most, and no recursion. Pure.
 */
export function* cutIntoBins(files: readonly SizedFile[], limits: BinLimits): Generator<Bin> {
  for (const bin of cutBetweenFiles(files, limits)) {
    const first = files[bin.from]!;
    if (first.bytes > limits.bytes) yield* cutFile(bin.from, first.bytes, limits.bytes);
    else yield bin;
  }
}

/** The same for work that needs files whole: one that is larger than a bin stands alone, and is not cut. */
export function* cutBetweenFiles(files: readonly SizedFile[], limits: BinLimits): Generator<WholeFiles> {
  let from = 0;
  for (let i = 0; i <= files.length; i++) {
    const file = files[i];
    if (file !== undefined && file.bytes <= limits.bytes) continue;
    if (i > from) yield* cutRun(files, from, i, limits);
    if (file !== undefined) yield { from: i, to: i + 1 };
    from = i + 1;
  }
}

function* cutFile(file: number, bytes: number, chunk: number): Generator<Bin> {
  for (let offset = 0; offset < bytes; offset += chunk) {
    yield { file, offset, length: Math.min(chunk, bytes - offset) };
  }
}

/** Walks the tree of a run's boundaries from its root, and stops at each piece that fits. */
function* cutRun(
  files: readonly SizedFile[],
  start: number,
  end: number,
  limits: BinLimits,
): Generator<WholeFiles> {
  const upTo = new Float64Array(end - start + 1);
  for (let i = start; i < end; i++) upTo[i - start + 1] = upTo[i - start]! + files[i]!.bytes;
  const fits = (from: number, to: number): boolean =>
    to - from <= limits.files && upTo[to - start]! - upTo[from - start]! <= limits.bytes;

  const tree = fits(start, end) ? null : boundaryTree(files, start, end);
  const pieces = [{ from: start, to: end, boundary: tree?.root ?? 0 }];
  for (let piece = pieces.pop(); piece !== undefined; piece = pieces.pop()) {
    const { from, to, boundary } = piece;
    if (tree === null || fits(from, to)) {
      yield { from, to };
      continue;
    }
    pieces.push({ from: boundary, to, boundary: tree.right[boundary - start]! });
    pieces.push({ from, to: boundary, boundary: tree.left[boundary - start]! });
  }
}

/**
 * The Cartesian tree (Vuillemin 1980) of the boundaries inside a run: a boundary stands above all of higher priority
 * number between its neighbours above. Boundary b lies before file b. One pass with a stack, O(n).
 */
function boundaryTree(
  files: readonly SizedFile[],
  start: number,
  end: number,
): { root: number; left: Int32Array; right: Int32Array } {
  const left = new Int32Array(end - start);
  const right = new Int32Array(end - start);
  const priority = new Float64Array(end - start);
  const spine: number[] = [];
  for (let boundary = start + 1; boundary < end; boundary++) {
    const own = boundaryPriority(files[boundary]!.path);
    priority[boundary - start] = own;
    let below = 0;
    while (spine.length > 0 && priority[spine.at(-1)! - start]! > own) below = spine.pop()!;
    left[boundary - start] = below;
    if (spine.length > 0) right[spine.at(-1)! - start] = boundary;
    spine.push(boundary);
  }
  return { root: spine[0]!, left, right };
}

/** The first 48 bits of a path's SHA-256, a number that a double holds exactly. */
function boundaryPriority(path: string): number {
  return Number.parseInt(sha256(path).slice(0, 12), 16);
}
