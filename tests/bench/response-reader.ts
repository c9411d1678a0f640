/**
 * Reads the next chunk of a connection. Returns true if a response is complete.
 * @throws Error if the response is not the expected one
 */
export type ResponseReader = (chunk: Buffer) => boolean;

const endOfHead = '\r\n\r\n';

/**
 * Creates a reader for consecutive responses with status 200 and a Content-Length of exactly `bytes`. It supports no other HTTP:
 * on a small machine, a full parser in the load generator would take CPU time from the proxies.
 */
export function createResponseReader(bytes: number): ResponseReader {
  let head: Buffer | undefined;
  let bodyLeft: number | undefined;

  return (chunk) => {
    let bodyBytes = chunk.length;
    if (bodyLeft === undefined) {
      head = head === undefined ? chunk : Buffer.concat([head, chunk]);
      const end = head.indexOf(endOfHead);
      if (end === -1) return false;
      checkHead(head.toString('latin1', 0, end), bytes);
      bodyBytes = head.length - end - endOfHead.length;
      head = undefined;
      bodyLeft = bytes;
    }
    bodyLeft -= bodyBytes;
    if (bodyLeft < 0) throw new Error('more bytes than Content-Length');
    if (bodyLeft > 0) return false;
    bodyLeft = undefined;
    return true;
  };
}

function checkHead(head: string, bytes: number): void {
  const status = head.slice('HTTP/1.1 '.length, head.indexOf('\r\n'));
  if (!head.startsWith('HTTP/1.1 200')) throw new Error(`status ${status}`);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length === undefined) throw new Error('no Content-Length');
  if (Number(length) !== bytes) throw new Error(`Content-Length ${length} instead of ${bytes}`);
}
