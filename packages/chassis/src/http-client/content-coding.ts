import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate } from 'node:zlib';

type Decode = (body: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>;

/** Content codings by name (RFC 9110, section 8.4.1). */
const decoders: ReadonlyMap<string, Decode> = new Map<string, Decode>([
  ['gzip', promisify(gunzip)],
  ['x-gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
  ['br', promisify(brotliDecompress)],
]);

/**
 * Removes the content codings of a body, the last one first.
 * @param coding value of `Content-Encoding`; undefined for none
 * @param maxBytes bytes that the decoded body may have
 * @throws Error for an unknown coding, a body that is not in it, or one that is too large
 */
export async function decodeBody(
  body: Buffer,
  coding: string | undefined,
  maxBytes: number,
): Promise<Buffer> {
  if (coding === undefined || body.length === 0) return body;
  const names = coding.split(',').map((name) => name.trim().toLowerCase());
  let decoded = body;
  for (const name of names.reverse()) {
    if (name === '' || name === 'identity') continue;
    const decode = decoders.get(name);
    if (decode === undefined) throw new Error(`unknown content coding ${name.slice(0, 20)}`);
    decoded = await decode(decoded, { maxOutputLength: maxBytes });
  }
  return decoded;
}
