/** Reads the answers on one connection; true when an answer is whole. @throws Error when it is not the one expected */
export type AnswerReader = (chunk: Buffer) => boolean;

const endOfHead = '\r\n\r\n';

/**
 * Expects one answer after another with status 200 and a body of exactly `bytes` bytes under Content-Length, the way
 * the upstream sends them. It understands nothing else of HTTP, which makes it cheap: on a small machine, time that the
 * load generator takes is time that the proxies do not get.
 */
export function createAnswerReader(bytes: number): AnswerReader {
  let head: Buffer | undefined;
  let bodyLeft: number | undefined;

  return (chunk) => {
    let arrived = chunk.length;
    if (bodyLeft === undefined) {
      head = head === undefined ? chunk : Buffer.concat([head, chunk]);
      const end = head.indexOf(endOfHead);
      if (end === -1) return false;
      checkHead(head.toString('latin1', 0, end), bytes);
      arrived = head.length - end - endOfHead.length;
      head = undefined;
      bodyLeft = bytes;
    }
    bodyLeft -= arrived;
    if (bodyLeft < 0) throw new Error('more bytes than Content-Length says');
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
