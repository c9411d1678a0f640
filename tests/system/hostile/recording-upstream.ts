import { type AddressInfo, createServer, type Socket } from 'node:net';

/** A request as received. */
export interface RecordedRequest {
  /** Method and target. */
  readonly line: string;
  /** Headers in the order received, with names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
}

/** A service with a minimal, strict HTTP/1.1 parser that records all requests. */
export interface RecordingUpstream {
  readonly port: number;
  readonly requests: readonly RecordedRequest[];
  /** Parse errors. Empty if the gateway forwards only well-formed requests. */
  readonly faults: readonly string[];
  close(): Promise<void>;
}

const response = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok';

export async function startRecordingUpstream(): Promise<RecordingUpstream> {
  const requests: RecordedRequest[] = [];
  const faults: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    let bytes = '';
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    // The gateway destroys the connection of an aborted request.
    socket.on('error', () => undefined);
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      bytes += chunk;
      try {
        for (let read = readRequest(bytes); read !== undefined; read = readRequest(bytes)) {
          bytes = bytes.slice(read.length);
          requests.push(read.request);
          socket.write(response);
        }
      } catch (error) {
        faults.push(`${(error as Error).message} in ${JSON.stringify(bytes.slice(0, 500))}`);
        socket.destroy();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    faults,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const token = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;

/**
 * Returns the first request in the bytes and its length in bytes; undefined if it is incomplete.
 * @throws Error if the bytes are not a request
 */
function readRequest(bytes: string): { request: RecordedRequest; length: number } | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return undefined;
  const [first = '', ...lines] = bytes.slice(0, end).split('\r\n');
  if (!/^[A-Z]+ [!-~]+ HTTP\/1\.1$/.test(first))
    throw new Error(`invalid request line ${JSON.stringify(first)}`);
  const headers = lines.map((line) => {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).trim();
    // biome-ignore lint/suspicious/noControlCharactersInRegex: matches forbidden control characters
    if (colon < 1 || !token.test(name) || /[\x00-\x08\x0a-\x1f\x7f]/.test(value))
      throw new Error(`invalid header ${JSON.stringify(line)}`);
    return [name.toLowerCase(), value] as const;
  });
  const valuesOf = (name: string): string[] =>
    headers.filter(([key]) => key === name).map(([, value]) => value);
  if (valuesOf('host').length !== 1) throw new Error(`${valuesOf('host').length} Host headers`);
  const lengths = valuesOf('content-length');
  const codings = valuesOf('transfer-encoding');
  if (lengths.length + codings.length > 1)
    throw new Error('more than one Content-Length or Transfer-Encoding');
  const line = first.replace(/ HTTP\/1\.1$/, '');
  const rest = bytes.slice(end + 4);
  const framed =
    codings.length > 0 ? readChunks(codings[0] ?? '', rest) : readLength(lengths[0] ?? '0', rest);
  if (framed === undefined) return undefined;
  return { request: { line, headers, body: framed.body }, length: end + 4 + framed.length };
}

function readLength(text: string, rest: string): { body: string; length: number } | undefined {
  if (!/^\d{1,15}$/.test(text)) throw new Error(`invalid Content-Length ${JSON.stringify(text)}`);
  const length = Number(text);
  return rest.length < length ? undefined : { body: rest.slice(0, length), length };
}

function readChunks(coding: string, rest: string): { body: string; length: number } | undefined {
  if (coding !== 'chunked') throw new Error(`invalid Transfer-Encoding ${JSON.stringify(coding)}`);
  let body = '';
  let at = 0;
  for (;;) {
    const end = rest.indexOf('\r\n', at);
    if (end === -1) return undefined;
    const size = rest.slice(at, end);
    if (!/^[0-9a-fA-F]{1,8}$/.test(size)) throw new Error(`invalid chunk size ${JSON.stringify(size)}`);
    const length = Number.parseInt(size, 16);
    if (rest.length < end + 4 + length) return undefined;
    if (rest.slice(end + 2 + length, end + 4 + length) !== '\r\n')
      throw new Error('chunk data does not match its size');
    body += rest.slice(end + 2, end + 2 + length);
    at = end + 4 + length;
    if (length === 0) return { body, length: at };
  }
}
