import { HeaderFault, type Header, type ImageFault, type ImageSize } from './header.js';
import { heifSize } from './heif.js';
import { jxlSize } from './jxl.js';
import { bmpSize, gifSize, iconSize, jpegSize, pngSize, psdSize, tiffSize, webpSize } from './rasters.js';

/** The largest side that any of the formats can tell; a larger number is no size. */
const side_max = 2 ** 31 - 1;

/** Readers by media type. An image of another type has no size here. */
const readers: Readonly<Record<string, (header: Header) => ImageSize>> = {
  'image/png': pngSize,
  'image/apng': pngSize,
  'image/gif': gifSize,
  'image/jpeg': jpegSize,
  'image/webp': webpSize,
  'image/bmp': bmpSize,
  'image/x-icon': iconSize,
  'image/tiff': tiffSize,
  'image/vnd.adobe.photoshop': psdSize,
  'image/avif': heifSize,
  'image/heic': heifSize,
  'image/heif': heifSize,
  'image/jxl': jxlSize,
};

/** What the header of a raster image tells: its size, what is wrong, or neither when its format is not read. */
export type Measured =
  | { readonly size: ImageSize | null; readonly fault?: undefined }
  | { readonly size: null; readonly fault: ImageFault; readonly at: number };

/** Reads the size of a raster image from its header. Never throws. */
export function measure(mime: string, header: Header): Measured {
  const read = Object.hasOwn(readers, mime) ? readers[mime] : undefined;
  if (read === undefined) return { size: null };
  try {
    const size = read(header);
    header.assert(isSide(size.width) && isSide(size.height));
    return { size };
  } catch (error) {
    if (!(error instanceof HeaderFault)) throw error;
    return { size: null, fault: error.fault, at: error.at };
  }
}

/** Is this a width or height that an image can have? */
export function isSide(pixels: number): boolean {
  return pixels > 0 && pixels <= side_max;
}
