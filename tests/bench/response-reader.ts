/**
 * Reads the next chunk of a connection. Returns true if a response is complete.
 * @throws Error if the response is not the expected one
 */
export type ResponseReader = (chunk: Buffer) => boolean;

const endOfHead = '\r\n\r\n';

/**
 * Creates a reader for consecutive responses with one status and a Content-Length of exactly `bytes`; undefined accepts any length. It
 * supports no other HTTP: on a small machine, a full parser in the load generator would take CPU time from the proxies.
 */
export function createResponseReader(bytes: number | undefined, status = 200): ResponseReader {
  let head: Buffer | undefined;
  let bodyLeft: number | undefined;

  return (chunk) => {
    let bodyBytes = chunk.length;
    if (bodyLeft === undefined) {
      head = head === undefined ? chunk : Buffer.concat([head, chunk]);
      const end = head.indexOf(endOfHead);
      if (end === -1) return false;
      bodyLeft = checkHead(head.toString('latin1', 0, end), bytes, status);
      bodyBytes = head.length - end - endOfHead.length;
      head = undefined;
    }
    bodyLeft -= bodyBytes;
    if (bodyLeft < 0) throw new Error('more bytes than Content-Length');
    if (bodyLeft > 0) return false;
    bodyLeft = undefined;
    return true;
  };
}

/** Returns the length of the body. */
function checkHead(head: string, bytes: number | undefined, status: number): number {
  if (!head.startsWith(`HTTP/1.1 ${status}`))
    throw new Error(`status ${head.slice('HTTP/1.1 '.length, head.indexOf('\r\n'))}`);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length === undefined) throw new Error('no Content-Length');
  if (bytes !== undefined && Number(length) !== bytes)
    throw new Error(`Content-Length ${length} instead of ${bytes}`);
  return Number(length);
}
