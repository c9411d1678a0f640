import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate } from 'node:zlib';

type Decode = (body: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>;

/** Decoders by content coding (RFC 9110, section 8.4.1). */
const decoders: ReadonlyMap<string, Decode> = new Map<string, Decode>([
  ['gzip', promisify(gunzip)],
  ['x-gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
  ['br', promisify(brotliDecompress)],
]);

/**
 * Decodes the content codings of a body, last one first.
 * @param coding value of `Content-Encoding`; undefined for none
 * @param maxBytes maximum size of the decoded body in bytes
 * @throws Error if a coding is unknown, the body is invalid or the decoded body is too large
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
