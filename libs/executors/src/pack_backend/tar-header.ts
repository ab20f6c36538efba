/** What a header tells of its entry; everything else of it is fixed. */
export interface TarEntry {
  readonly name: string;
  /** Length of the content in bytes. */
  readonly bytes: number;
  readonly executable: boolean;
}

/** Everything in a tar comes in blocks of this size. */
export const tar_block_bytes = 512;

const name_bytes_max = 100;
const prefix_bytes_max = 155;
/** From 8 GiB on, eleven octal digits cannot tell a length. */
const octal_bytes_max = 8 ** 11;

/**
 * What stands in front of an entry's content: a ustar header (POSIX.1-1988), behind a pax header with the path (POSIX.1-2001)
 * when ustar cannot hold it, which has room for ASCII alone. Owner and group are 0 and have no names, the time is
 * 1970-01-01, the mode 755 or 644. A length from 8 GiB on is base-256, as GNU tar and all others write it.
 */
export function tarHeader({ name, bytes, executable }: TarEntry): Buffer {
  const place = ustarPlace(name);
  if (place !== null) return ustar(place, bytes, executable, '0');
  const record = paxRecord('path', name);
  const stand_in = { name: 'PaxHeader', prefix: '' };
  return Buffer.concat([
    ustar(stand_in, record.length, executable, 'x'),
    record,
    padding(record.length),
    ustar(stand_in, bytes, executable, '0'),
  ]);
}

/** Zeros that fill the last block of a content of so many bytes. */
export function padding(bytes: number): Buffer {
  return Buffer.alloc((tar_block_bytes - (bytes % tar_block_bytes)) % tar_block_bytes);
}

/** Two blocks of zeros end a tar. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * tar_block_bytes);
}

interface Place {
  readonly name: string;
  readonly prefix: string;
}

/** As many folders as need be go into the prefix. Null when the path does not fit, or is not ASCII. */
function ustarPlace(path: string): Place | null {
  if (Buffer.byteLength(path) !== path.length) return null;
  let split = -1;
  while (path.length - split - 1 > name_bytes_max) {
    split = path.indexOf('/', split + 1);
    if (split === -1) return null;
  }
  const prefix = path.slice(0, Math.max(0, split));
  return prefix.length > prefix_bytes_max ? null : { name: path.slice(split + 1), prefix };
}

function ustar({ name, prefix }: Place, bytes: number, executable: boolean, type: '0' | 'x'): Buffer {
  const header = Buffer.alloc(tar_block_bytes);
  header.write(name, 0, 'latin1');
  header.write(executable ? '000755 ' : '000644 ', 100, 'latin1');
  header.write('000000 ', 108, 'latin1'); // User.
  header.write('000000 ', 116, 'latin1'); // Group.
  if (bytes < octal_bytes_max) header.write(`${octal(bytes, 11)} `, 124, 'latin1');
  else {
    header[124] = 0x80;
    header.writeUIntBE(bytes, 130, 6);
  }
  header.write('00000000000 ', 136, 'latin1'); // Time of the last modification.
  header.write(type, 156, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  header.write('000000 ', 329, 'latin1'); // Device numbers.
  header.write('000000 ', 337, 'latin1');
  header.write(prefix, 345, 'latin1');
  header.write(`${octal(checksum(header), 6)} `, 148, 'latin1');
  return header;
}

/** The sum of all bytes, those of the checksum itself being spaces. */
function checksum(header: Buffer): number {
  let sum = 8 * 0x20;
  for (let i = 0; i < header.length; i++) sum += header[i]!;
  return sum;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}

/** `<length> <key>=<value>\n`, where the length counts its own digits too. */
function paxRecord(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  let length = bytes + String(bytes).length;
  length = bytes + String(length).length;
  return Buffer.from(length + rest);
}
