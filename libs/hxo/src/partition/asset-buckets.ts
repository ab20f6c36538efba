import picomatch from 'picomatch';
import { glob_options, patternsOf } from '../plan/globs.js';

/** Puts a file into a bucket by its path relative to the listing's root; null when no bucket takes it. */
export type BucketOf = (path: string) => string | null;

/** The bucket of every file that no other default bucket takes. */
export const rest_bucket = 'other';

/** Extensions of the default buckets, in lower case. No extension stands twice. */
const extensions_by_bucket: Readonly<Record<string, readonly string[]>> = {
  images: words(
    'png apng jpg jpeg jpe jfif gif webp avif heic heif jxl svg svgz bmp dib ico cur tif tiff psd jp2 xcf dds ktx ktx2 tga xpm xbm pbm pgm ppm pnm',
  ),
  scripts: words('js mjs cjs jsx ts mts cts tsx wasm'),
  styles: words('css scss sass less styl pcss'),
  fonts: words('woff woff2 ttf otf ttc otc eot'),
  media: words(
    'mp3 m4a aac ogg oga opus flac wav weba mid midi mp4 m4v webm mov mkv avi ogv mpg mpeg 3gp m3u8 vtt srt',
  ),
  documents: words(
    'pdf html htm xhtml md markdown txt rst rtf csv tsv doc docx xls xlsx ppt pptx odt ods odp epub tex ps',
  ),
};

/** Names of the default buckets, the one for the rest last. */
export const default_buckets: readonly string[] = [...Object.keys(extensions_by_bucket), rest_bucket];

const bucket_by_extension = new Map(
  Object.entries(extensions_by_bucket).flatMap(([bucket, extensions]) =>
    extensions.map((extension) => [extension, bucket] as const),
  ),
);

/** Default buckets go by the extension, whatever its case; files of buckets that are not asked for are in none. */
export function byExtension(asked: readonly string[]): BucketOf {
  const taken = new Set(asked);
  return (path) => {
    const extension = /\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
    const bucket = bucket_by_extension.get(extension) ?? rest_bucket;
    return taken.has(bucket) ? bucket : null;
  };
}

/** The first bucket with a glob that matches the file, or a folder above it. */
export function byGlobs(globs_by_bucket: readonly (readonly [string, readonly string[]])[]): BucketOf {
  const matchers = globs_by_bucket.map(
    ([bucket, globs]) => [bucket, picomatch(patternsOf(globs), glob_options)] as const,
  );
  return (path) => matchers.find(([, matches]) => matches(path))?.[0] ?? null;
}

function words(text: string): readonly string[] {
  return text.split(' ');
}
