import { deflateRawSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import {
  sample_height,
  sample_images,
  sample_width,
  type SampleImage,
} from '../../../../test/fixtures/sample-images.js';
import { head_bytes, identify, type Identity } from './identify.js';

/** Processor time that no identification may take, whatever the bytes are. */
const limit_ms = 1_000;

const seven_by_five = { width: sample_width, height: sample_height };
const bytesOf = ({ base64 }: SampleImage): Buffer => Buffer.from(base64, 'base64');
const sample = (format: string): Buffer => bytesOf(sample_images.find((image) => image.format === format)!);

/** A whole file, or what is kept of it when it is longer. */
function identified(file: Uint8Array, path = 'file'): Promise<Identity> {
  return identify(file.subarray(0, head_bytes), file.length, path);
}
const identifiedText = (text: string, path = 'file'): Promise<Identity> =>
  identified(Buffer.from(text), path);

async function timed(file: Uint8Array, path = 'file'): Promise<Identity> {
  const begun = process.cpuUsage();
  const identity = await identified(file, path);
  const { user, system } = process.cpuUsage(begun);
  expect((user + system) / 1_000).toBeLessThan(limit_ms);
  return identity;
}

describe('images', () => {
  it.each(sample_images.map((image) => [image.format, image] as const))(
    'tells type and size of %s, whatever its name says',
    async (_, image) => {
      const told = { mime: image.mime, size: seven_by_five };
      expect(await identified(bytesOf(image), `a.${image.extension}`)).toEqual(told);
      expect(await identified(bytesOf(image), 'a.txt')).toEqual(told);
    },
  );

  it('tells the size of a JPEG XL image by its ratio, and of one with sides in eights', async () => {
    // One bit says that the sides are in eights, five that there are 3 + 1 of them in height, three that the ratio is 2 : 1.
    const ratio = Buffer.from([0xff, 0x0a, 1 | (3 << 1) | ((7 & 3) << 6), 7 >> 2]);
    expect(await identified(ratio)).toEqual({ mime: 'image/jxl', size: { width: 64, height: 32 } });
    const eights = Buffer.from(
      '/woDAEio3FtFEAASiAIA2ABd5RIAABUqo4wbvJzr+fJDh8W0jesMbbVtYUmiyDg2SSdwSBKLIO4G7hEAAELMw5xgYlhVSQI=',
      'base64',
    );
    expect(await identified(eights)).toEqual({ mime: 'image/jxl', size: { width: 8, height: 16 } });
  });

  it('takes the largest image of an icon, 0 standing for 256', async () => {
    const entry = (width: number, height: number): number[] => [width, height, ...Array<number>(14).fill(0)];
    const icon = Buffer.from([0, 0, 1, 0, 3, 0, ...entry(16, 16), ...entry(0, 0), ...entry(48, 255)]);
    expect(await identified(icon)).toEqual({ mime: 'image/x-icon', size: { width: 256, height: 256 } });
  });

  it('counts the rows of a BMP that stands on its feet, too', async () => {
    const bmp = sample('BMP');
    bmp.writeInt32LE(-sample_height, 22);
    expect((await identified(bmp)).size).toEqual(seven_by_five);
  });

  it('reports the stored size of a JPEG that EXIF turns on its side', async () => {
    const tiff = Buffer.from('4d4d002a00000008000101120003000000010006000000000000', 'hex');
    const exif = Buffer.concat([Buffer.from('Exif\0\0'), tiff]);
    const length = Buffer.from([0xff, 0xe1, 0, exif.length + 2]);
    const jpeg = sample('JPEG');
    const turned = Buffer.concat([jpeg.subarray(0, 2), length, exif, jpeg.subarray(2)]);
    expect(await identified(turned)).toEqual({ mime: 'image/jpeg', size: seven_by_five });
  });

  it('has no size for an image whose format it does not read', async () => {
    const dwg = Buffer.concat([Buffer.from('AC1027'), Buffer.alloc(100)]);
    expect(await identified(dwg)).toEqual({ mime: 'image/vnd.dwg', size: null });
  });
});

describe('SVG', () => {
  const svg = (attributes: string): string =>
    `<svg xmlns="http://www.w3.org/2000/svg" ${attributes}><g/></svg>`;

  it.each<[string, string, { width: number; height: number } | null]>([
    ['lengths', svg('width="24" height="12.5"'), { width: 24, height: 12.5 }],
    ['units', svg(`width='1in' height="2.54cm"`), { width: 96, height: 96 }],
    ['a viewBox', svg('viewBox="0 0 100 50"'), { width: 100, height: 50 }],
    ['a viewBox with commas', svg('viewBox="-1,-1, 16 16"'), { width: 16, height: 16 }],
    ['one length and proportions', svg('width="50px" viewBox="0 0 100 50"'), { width: 50, height: 25 }],
    ['the other and proportions', svg('height="10" viewBox="0 0 3 1"'), { width: 30, height: 10 }],
    [
      'percentages and a viewBox',
      svg('width="100%" height="100%" viewBox="0 0 8 9"'),
      { width: 8, height: 9 },
    ],
    ['thousandths', svg('width="1e1" height="0.33333"'), { width: 10, height: 0.333 }],
    ['no size', svg(''), null],
    ['only percentages', svg('width="100%" height="100%"'), null],
    ['only em', svg('width="2em" height="2em"'), null],
    ['a broken viewBox', svg('viewBox="0 0 x 5"'), null],
    [
      'a prefix',
      '<s:svg xmlns:s="http://www.w3.org/2000/svg" width="3" height="4"/>',
      { width: 3, height: 4 },
    ],
    [
      'all that may stand in front',
      `\uFEFF<?xml version="1.0"?>\n<!-- <svg width="9" height="9"> -->\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x>y" [ <!ENTITY a "]>"> <!-- ' --> ]>\n${svg('width="5" height="6"')}`,
      { width: 5, height: 6 },
    ],
  ])('takes %s', async (_, text, size) => {
    expect(await identifiedText(text, 'a.svg')).toEqual({ mime: 'image/svg+xml', size });
    expect(await identifiedText(text, 'no-extension')).toEqual({ mime: 'image/svg+xml', size });
  });

  it('reads UTF-16', async () => {
    const text = Buffer.from('\uFEFF' + svg('width="2" height="3"'), 'utf16le');
    expect(await identified(text, 'a.svg')).toEqual({
      mime: 'image/svg+xml',
      size: { width: 2, height: 3 },
    });
  });

  it.each<[string, string, string]>([
    ['a root that does not end', '<svg width="1"', 'truncated'],
    ['a comment that does not end', '<!-- <svg/>', 'truncated'],
    ['a DOCTYPE that does not end', '<!DOCTYPE svg [ <!ENTITY a "', 'truncated'],
    ['attributes without quotes', '<svg width=1 height=1></svg>', 'malformed'],
    ['no width', svg('width="0" height="5"'), 'malformed'],
    ['an absurd width', svg('width="999999999999" height="5"'), 'malformed'],
  ])('tells what is wrong with one that has %s', async (_, text, fault) => {
    expect(await identifiedText(text, 'a.svg')).toEqual({ mime: 'image/svg+xml', size: null, fault });
  });

  it('is no SVG when its root is something else', async () => {
    expect(await identifiedText('<?xml version="1.0"?><html/>', 'a.svg')).toEqual({
      mime: 'application/xml',
    });
    expect(await identifiedText('', 'a.svg')).toEqual({ mime: 'text/plain' });
    expect(await identifiedText('404: not found', 'a.svg')).toEqual({ mime: 'text/plain' });
  });

  it('expands no entity, and looks no further than its head', async () => {
    const lol = Array.from({ length: 9 }, (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`).join('');
    const bomb = `<!DOCTYPE svg [<!ENTITY l0 "lol">${lol}]>`;
    expect(await timed(Buffer.from(`${bomb}${svg('width="7" height="&l9;"')}`), 'a.svg')).toEqual({
      mime: 'image/svg+xml',
      size: null,
    });
    const late = `<!--${' '.repeat(2 * head_bytes)}-->${svg('width="7" height="7"')}`;
    expect(await timed(Buffer.from(late), 'a.svg')).toEqual({
      mime: 'image/svg+xml',
      size: null,
      fault: 'out_of_reach',
    });
  });
});

describe('other files', () => {
  it.each([
    ['main.css', 'a { color: red }', 'text/css'],
    ['main.js', 'export {};', 'text/javascript'],
    ['Main.TS', 'export {};', 'text/x-typescript'],
    ['data.json', '{}', 'application/json'],
    ['table.csv', 'a,b\n', 'text/csv'],
    ['README.md', '# BM', 'text/markdown'],
    ['index.html', '<p>', 'text/html'],
    ['page', ' <!DOCTYPE html><p>', 'text/html'],
    ['feed', '<?xml version="1.0"?><a/>', 'application/xml'],
    ['words', 'BM is not always a bitmap', 'text/plain'],
    ['.css', 'a dot file', 'text/plain'],
    ['esc.txt', '\u001b[1mbold\u001b[0m', 'text/plain'],
    ['report.txt', '%PDF-1.4\n%EOF', 'application/pdf'],
    ['empty.css', '', 'text/css'],
    ['empty', '', 'application/octet-stream'],
  ])('tells that %s is a text of its type', async (path, text, mime) => {
    expect(await identifiedText(text, path)).toEqual({ mime });
  });

  it('takes old encodings for a text when the name says so', async () => {
    const latin = Buffer.from('caf\xe9', 'latin1');
    expect(await identified(latin, 'menu.csv')).toEqual({ mime: 'text/csv' });
    expect(await identified(latin, 'menu')).toEqual({ mime: 'application/octet-stream' });
  });

  it('does not stumble over a character that the cut has halved', async () => {
    const text = Buffer.concat([Buffer.alloc(head_bytes - 1, 'x'), Buffer.from('é and more')]);
    expect(await identified(text, 'a.md')).toEqual({ mime: 'text/markdown' });
  });

  it.each<[string, Buffer, string]>([
    ['a PNG named as a script', sample('PNG'), 'image/png'],
    ['control characters', Buffer.from([1, 2, 3]), 'application/octet-stream'],
    ['gzip', gzipSync('x'), 'application/gzip'],
    ['WebAssembly', Buffer.from('0061736d01000000', 'hex'), 'application/wasm'],
    ['WOFF2', Buffer.concat([Buffer.from('774f463200010000', 'hex'), Buffer.alloc(40)]), 'font/woff2'],
    ['BM and no bitmap', Buffer.from('BM\0\u0001 and so on, for a while longer'), 'application/octet-stream'],
  ])('goes by magic: %s', async (_, bytes, mime) => {
    expect((await identified(bytes, 'a.js')).mime).toBe(mime);
  });
});

describe('hostile files', () => {
  const box = (type: string, ...content: Buffer[]): Buffer => {
    const body = Buffer.concat(content);
    const head = Buffer.alloc(8);
    head.writeUInt32BE(body.length + 8);
    head.write(type, 4, 'latin1');
    return Buffer.concat([head, body]);
  };
  const ftyp = box('ftyp', Buffer.from('avif\0\0\0\0avifmif1'));

  it.each<[string, Buffer, Identity]>([
    [
      'an endless run of boxes without length',
      Buffer.concat([ftyp, Buffer.alloc(head_bytes)]),
      { mime: 'image/avif', size: null, fault: 'malformed' },
    ],
    [
      'a box that is shorter than its own header',
      Buffer.concat([ftyp, Buffer.from('00000004', 'hex'), Buffer.from('metameta')]),
      { mime: 'image/avif', size: null, fault: 'malformed' },
    ],
    [
      'a box of 2^64 - 1 bytes',
      Buffer.concat([ftyp, Buffer.from('000000016d657461ffffffffffffffff', 'hex')]),
      { mime: 'image/avif', size: null, fault: 'malformed' },
    ],
    [
      'a box that is longer than the file',
      Buffer.concat([ftyp, Buffer.from('7fffffff6d657461', 'hex')]),
      { mime: 'image/avif', size: null, fault: 'truncated' },
    ],
    [
      'four thousand million associated properties',
      Buffer.concat([
        ftyp,
        box(
          'meta',
          Buffer.alloc(4),
          box('pitm', Buffer.from('000000000001', 'hex')),
          box(
            'iprp',
            box('ipco', box('ispe', Buffer.alloc(12))),
            box('ipma', Buffer.from('00000000ffffffff000200', 'hex')),
          ),
        ),
      ]),
      { mime: 'image/avif', size: null, fault: 'malformed' },
    ],
    [
      'a PNG of no width',
      Buffer.concat([sample('PNG').subarray(0, 16), Buffer.alloc(4), sample('PNG').subarray(20)]),
      { mime: 'image/png', size: null, fault: 'malformed' },
    ],
    [
      'a PNG of four thousand million columns',
      Buffer.concat([sample('PNG').subarray(0, 16), Buffer.alloc(4, 0xff), sample('PNG').subarray(20)]),
      { mime: 'image/png', size: null, fault: 'malformed' },
    ],
    [
      'a JPEG of fill bytes',
      Buffer.concat([Buffer.from('ffd8ffe0', 'hex'), Buffer.alloc(head_bytes - 5, 0xff)]),
      { mime: 'image/jpeg', size: null, fault: 'truncated' },
    ],
    [
      'a JPEG whose segment has no length',
      Buffer.from('ffd8ffe00000ffd9', 'hex'),
      { mime: 'image/jpeg', size: null, fault: 'malformed' },
    ],
    [
      'a TIFF directory of 65,535 entries',
      Buffer.concat([Buffer.from('49492a0008000000ffff', 'hex'), Buffer.alloc(1000)]),
      { mime: 'image/tiff', size: null, fault: 'malformed' },
    ],
    [
      'a TIFF directory behind the end',
      Buffer.concat([Buffer.from('49492a00ffffff7f', 'hex'), Buffer.alloc(100)]),
      { mime: 'image/tiff', size: null, fault: 'truncated' },
    ],
  ])('records what is wrong: %s', async (_, bytes, expected) => {
    expect(await timed(bytes)).toEqual(expected);
  });

  it('reports a decompression bomb by its header, and unpacks nothing', async () => {
    const bomb = sample('PNG');
    bomb.writeUInt32BE(2_000_000_000, 16);
    bomb.writeUInt32BE(2_000_000_000, 20);
    expect((await timed(bomb)).size).toEqual({ width: 2_000_000_000, height: 2_000_000_000 });
    expect((await timed(gzipSync(Buffer.alloc(20_000_000)))).mime).toBe('application/gzip');
  });

  it.each(['mimetype', '[Content_Types].xml', 'word/document.xml'])(
    'does not spend its time on an archive full of %s, each a thousand times as large unpacked',
    async (name) => {
      const packed = deflateRawSync(Buffer.alloc(1 << 20, ' '));
      const header = Buffer.alloc(30);
      header.writeUInt32LE(0x04034b50, 0);
      header.writeUInt16LE(8, 8);
      header.writeUInt32LE(packed.length, 18);
      header.writeUInt32LE(1 << 20, 22);
      header.writeUInt16LE(name.length, 26);
      const entry = Buffer.concat([header, Buffer.from(name), packed]);
      const archive = Buffer.concat(Array<Buffer>(500).fill(entry));
      expect((await timed(archive)).mime).toBe('application/zip');
    },
  );

  it.each(sample_images.map((image) => [image.format, bytesOf(image)] as const))(
    'never throws and never hangs on %s, cut anywhere',
    async (_, bytes) => {
      for (let length = 0; length < bytes.length; length++) {
        const { size, fault } = await timed(bytes.subarray(0, length));
        if (size) expect(size).toEqual(seven_by_five);
        else expect([undefined, 'truncated', 'malformed']).toContain(fault);
      }
    },
  );

  const damaged = fc
    .tuple(
      fc.constantFrom(...sample_images.map(bytesOf)),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 12 }),
      fc.option(fc.nat(), { nil: undefined }),
      fc.constantFrom(0, 0, 100, head_bytes),
    )
    .map(([bytes, edits, cut, appended]) => {
      const copy = Buffer.concat([bytes, Buffer.alloc(appended, 0xff)]);
      for (const [at, byte] of edits) copy[at % bytes.length] = byte;
      return copy.subarray(0, cut === undefined ? copy.length : cut % copy.length);
    });

  it('never throws and never hangs on images with bytes changed', async () => {
    await fc.assert(
      fc.asyncProperty(damaged, async (bytes) => {
        const { mime, size } = await timed(bytes);
        expect(mime).toMatch(/^[a-z]+\/[^\s]+/);
        for (const side of [size?.width ?? 1, size?.height ?? 1]) {
          expect(side).toBeGreaterThan(0);
          expect(side).toBeLessThan(2 ** 31);
        }
      }),
      { numRuns: 500 },
    );
  }, 60_000);

  it('never throws and never hangs on SVG with anything in it', async () => {
    const piece = fc.constantFrom(
      '<svg ', '<?', '?>', '<!--', '-->', '<!DOCTYPE ', '[', ']', '>', '"', "'", '=', ' width="3"', ' viewBox="0 0 1 1"', '/', '\n', '&a;', 'x',
    ); // prettier-ignore
    const text = fc.array(piece, { maxLength: 40 }).map((pieces) => '<' + pieces.join(''));
    await fc.assert(
      fc.asyncProperty(text, async (svg) => {
        expect((await timed(Buffer.from(svg), 'a.svg')).mime).toMatch(
          /^(image\/svg\+xml|text\/plain|application\/xml|text\/html)$/,
        );
      }),
      { numRuns: 500 },
    );
    for (const repeated of [
      '<svg ',
      '<!--',
      "<svg a='",
      '<svg a="b" ',
      '<!DOCTYPE [',
      ' ',
      '<svg' + ' a'.repeat(9),
    ]) {
      await timed(Buffer.from('<' + repeated.repeat(head_bytes / repeated.length)), 'a.svg');
    }
  }, 60_000);
});
