import type { Step } from './raw-client.ts';

/** Input of a hostile client, and the allowed results. */
export interface HostileCase {
  readonly title: string;
  /** Bytes to send. `{id}` is replaced by a number unique to the case. */
  readonly steps: readonly Step[];
  /** Allowed statuses of each response; empty if the connection closes without a response. */
  readonly responses: readonly (readonly number[])[];
  /** Requests that reach the service: method, target and, after a space, the body. */
  readonly forwarded: readonly string[];
  /** A request that may or may not reach the service. */
  readonly mayForward?: string;
  /** Maximum milliseconds to wait for the responses. Default: 3000 */
  readonly timeoutMs?: number;
}

const path = '/api/users/{id}';
const host = 'Host: gateway.test\r\n';
const get = `GET ${path} HTTP/1.1\r\n${host}`;
const post = `POST /api/users?{id} HTTP/1.1\r\n${host}`;
const smuggled = `GET ${path}/smuggled HTTP/1.1\r\n${host}\r\n`;
const forwardedGet = `GET ${path}`;
const forwardedPost = (body: string): string => `POST /api/users?{id} ${body}`;

type Row = readonly [title: string, bytes: string | readonly Step[]];

/** Cases that the gateway rejects with one of the statuses and does not forward. */
function rejected(kind: string, statuses: readonly number[], rows: readonly Row[]): HostileCase[] {
  return rows.map(([title, steps]) => ({
    title: `rejects ${kind}: ${title}`,
    steps: typeof steps === 'string' ? [steps] : steps,
    responses: [statuses],
    forwarded: [],
  }));
}

/** Cases that reach the service as the given requests, and only as these. */
function forwardedAs(kind: string, forwarded: readonly string[], rows: readonly Row[]): HostileCase[] {
  return rows.map(([title, steps]) => ({
    title: `forwards ${kind}: ${title}`,
    steps: typeof steps === 'string' ? [steps] : steps,
    responses: forwarded.map(() => [200]),
    forwarded,
  }));
}

/** Variants of `Transfer-Encoding: chunked` that parsers interpret differently. */
const codings: readonly Row[] = [
  ['plain', 'Transfer-Encoding: chunked\r\n'],
  ['in upper case', 'TRANSFER-ENCODING: CHUNKED\r\n'],
  ['unknown coding', 'Transfer-Encoding: xchunked\r\n'],
  ['truncated coding', 'Transfer-Encoding: chunk\r\n'],
  ['identity', 'Transfer-Encoding: identity\r\n'],
  ['gzip', 'Transfer-Encoding: gzip\r\n'],
  ['gzip, chunked', 'Transfer-Encoding: gzip, chunked\r\n'],
  ['identity, chunked', 'Transfer-Encoding: identity, chunked\r\n'],
  ['chunked, identity', 'Transfer-Encoding: chunked, identity\r\n'],
  ['chunked twice in a list', 'Transfer-Encoding: chunked, chunked\r\n'],
  ['chunked in two headers', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'],
  ['chunked, then another header', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n'],
  ['another header, then chunked', 'Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n'],
  ['in quotes', 'Transfer-Encoding: "chunked"\r\n'],
  ['with a parameter', 'Transfer-Encoding: chunked;q=1\r\n'],
  ['before a comma', 'Transfer-Encoding: chunked,\r\n'],
  ['after a comma', 'Transfer-Encoding: ,chunked\r\n'],
  ['empty', 'Transfer-Encoding:\r\n'],
  ['after a vertical tab', 'Transfer-Encoding: \x0bchunked\r\n'],
  ['before a vertical tab', 'Transfer-Encoding: chunked\x0b\r\n'],
  ['before NUL', 'Transfer-Encoding: chunked\x00\r\n'],
  ['before DEL', 'Transfer-Encoding: chunked\x7f\r\n'],
  ['before a byte above 127', 'Transfer-Encoding: chunked\xff\r\n'],
  ['space before the colon', 'Transfer-Encoding : chunked\r\n'],
  ['tab before the colon', 'Transfer-Encoding\t: chunked\r\n'],
  ['NUL before the colon', 'Transfer-Encoding\x00: chunked\r\n'],
  ['line feed before the colon', 'Transfer-Encoding\n: chunked\r\n'],
  ['on a continuation line', 'Transfer-Encoding:\r\n chunked\r\n'],
  ['on a continuation line that starts with a tab', 'Transfer-Encoding:\r\n\tchunked\r\n'],
  ['split by a continuation line', 'Transfer-Encoding: chun\r\n ked\r\n'],
  ['after a bare line feed', 'X: y\nTransfer-Encoding: chunked\r\n'],
  ['after a bare carriage return', 'X: y\rTransfer-Encoding: chunked\r\n'],
  ['on a line that starts with a space', 'X: y\r\n Transfer-Encoding: chunked\r\n'],
];

/** Each coding together with a Content-Length, in both orders. */
const framing: HostileCase[] = codings.flatMap(([title, coding]) => {
  const body = `0\r\n\r\n${smuggled}`;
  return [
    ...rejected(
      'Transfer-Encoding with Content-Length',
      [400],
      [
        [title, `${post}Content-Length: ${body.length - 2}\r\n${coding}\r\n${body}`],
        [`${title}, Content-Length last`, `${post}${coding}Content-Length: 4\r\n\r\n${body}`],
      ],
    ),
  ];
});

const codingAlone: HostileCase[] = rejected(
  'Transfer-Encoding',
  [400],
  codings
    .filter(([title]) => !['plain', 'in upper case'].includes(title))
    .map(([title, coding]): Row => [title, `${post}${coding}\r\n5\r\nhello\r\n0\r\n\r\n`]),
);

const lengths: HostileCase[] = [
  ...rejected(
    'Content-Length',
    [400, 413],
    [
      ['two, equal', 'Content-Length: 5\r\nContent-Length: 5\r\n'],
      ['two, different', 'Content-Length: 5\r\nContent-Length: 6\r\n'],
      ['two, the first 0', 'Content-Length: 0\r\nContent-Length: 5\r\n'],
      ['a list', 'Content-Length: 5, 5\r\n'],
      ['a comma', 'Content-Length: 5,\r\n'],
      ['plus sign', 'Content-Length: +5\r\n'],
      ['minus sign', 'Content-Length: -5\r\n'],
      ['minus 0', 'Content-Length: -0\r\n'],
      ['hexadecimal', 'Content-Length: 0x5\r\n'],
      ['decimal point', 'Content-Length: 5.0\r\n'],
      ['an exponent', 'Content-Length: 5e0\r\n'],
      ['an underscore', 'Content-Length: 1_0\r\n'],
      ['a semicolon', 'Content-Length: 5;x\r\n'],
      ['a word', 'Content-Length: five\r\n'],
      ['quotes', 'Content-Length: "5"\r\n'],
      ['empty', 'Content-Length:\r\n'],
      ['spaces', 'Content-Length:   \r\n'],
      ['two numbers', 'Content-Length: 5 5\r\n'],
      ['2 to the power of 64', 'Content-Length: 18446744073709551616\r\n'],
      ['400 digits', `Content-Length: ${'9'.repeat(400)}\r\n`],
      ['over the body limit', 'Content-Length: 9007199254740993\r\n'],
      ['a space before the colon', 'Content-Length : 5\r\n'],
      ['a space in the name', 'Content Length: 5\r\n'],
      ['NUL', 'Content-Length: 5\x00\r\n'],
      ['a vertical tab', 'Content-Length: \x0b5\r\n'],
      ['on a continuation line', 'Content-Length:\r\n 5\r\n'],
      ['a tab after it', 'Content-Length: 5\t\r\n'],
      ['Arabic digits', 'Content-Length: \xd9\xa5\r\n'],
    ].map(([title = '', length = '']): Row => [title, `${post}${length}\r\nhello`]),
  ),
  ...forwardedAs(
    'Content-Length',
    [forwardedPost('hello')],
    [
      ['leading zeros', `${post}Content-Length: 0000000005\r\n\r\nhello`],
      [
        'repeated in the value of another header',
        `${post}X-Length: Content-Length: 3\r\nContent-Length: 5\r\n\r\nhello`,
      ],
      ['named by Connection', `${post}Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello`],
      ['with another Content_Length', `${post}Content_Length: 3\r\nContent-Length: 5\r\n\r\nhello`],
    ],
  ),
  ...forwardedAs(
    'Content-Length',
    [`${forwardedGet} hello`],
    [['in a GET', `${get}Content-Length: 5\r\n\r\nhello`]],
  ),
  ...forwardedAs('Content-Length', [forwardedGet], [['0 in a GET', `${get}Content-Length: 0\r\n\r\n`]]),
];

const chunks: HostileCase[] = [
  ...rejected(
    'chunked body',
    [400, 413, 431],
    [
      ['size is not a number', 'g\r\nhello\r\n0\r\n\r\n'],
      ['size is empty', '\r\nhello\r\n0\r\n\r\n'],
      ['size with 0x', '0x5\r\nhello\r\n0\r\n\r\n'],
      ['size with a plus sign', '+5\r\nhello\r\n0\r\n\r\n'],
      ['size with a minus sign', '-5\r\nhello\r\n0\r\n\r\n'],
      ['size after a space', ' 5\r\nhello\r\n0\r\n\r\n'],
      ['size with an underscore', '0_5\r\nhello\r\n0\r\n\r\n'],
      ['size of 17 digits', 'FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n'],
      ['size with NUL', '5\x00\r\nhello\r\n0\r\n\r\n'],
      ['size ends with a line feed', '5\nhello\r\n0\r\n\r\n'],
      ['size ends with a carriage return', '5\rhello\r\n0\r\n\r\n'],
      ['data longer than its size', '3\r\nhello\r\n0\r\n\r\n'],
      ['data ends with a line feed', '5\r\nhello\n0\r\n\r\n'],
      ['data ends with other bytes', '5\r\nhelloXX0\r\n\r\n'],
      ['data without a line end', '5\r\nhello0\r\n\r\n'],
      ['last chunk ends with a line feed', '5\r\nhello\r\n0\n\n'],
      ['extension with a line feed', '5;a=b\nc\r\nhello\r\n0\r\n\r\n'],
      ['extension with a carriage return', '5;a=b\rc\r\nhello\r\n0\r\n\r\n'],
      ['extension with NUL', '5;a=\x00\r\nhello\r\n0\r\n\r\n'],
      ['extension of 20 KiB', `5;${'a'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`],
      ['trailer with a line feed', '5\r\nhello\r\n0\r\nA: b\nC: d\r\n\r\n'],
      ['trailer without a colon', '5\r\nhello\r\n0\r\nA\r\n\r\n'],
      ['trailer with a space in its name', '5\r\nhello\r\n0\r\nA b: c\r\n\r\n'],
      ['trailer with a length', '5\r\nhello\r\n0\r\nContent-Length: 100\r\n\r\n'],
      ['trailer with a coding', '5\r\nhello\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n'],
      ['trailers of 20 KiB', `5\r\nhello\r\n0\r\nA: ${'b'.repeat(20_000)}\r\n\r\n`],
      ['over the body limit, in many chunks', `${`1000\r\n${'x'.repeat(4096)}\r\n`.repeat(20)}0\r\n\r\n`],
    ].map(([title = '', body = '']): Row => [title, `${post}Transfer-Encoding: chunked\r\n\r\n${body}`]),
  ),
  ...forwardedAs(
    'chunked body',
    [forwardedPost('hello')],
    [
      ['plain', '5\r\nhello\r\n0\r\n\r\n'],
      ['leading zeros in the size', '0000000000005\r\nhello\r\n0\r\n\r\n'],
      ['an extension', '5;name=value\r\nhello\r\n0\r\n\r\n'],
      ['an extension in quotes', '5;name="a b"\r\nhello\r\n0\r\n\r\n'],
      ['an extension that looks like a chunk', '5;0\r\nhello\r\n0\r\n\r\n'],
      ['an extension of the last chunk', '5\r\nhello\r\n0;last\r\n\r\n'],
      ['chunks of one byte', '1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n'],
      ['a trailer', '5\r\nhello\r\n0\r\nX-User-Id: 1\r\n\r\n'],
      ['a Host trailer', '5\r\nhello\r\n0\r\nHost: evil.test\r\n\r\n'],
    ].map(([title = '', body = '']): Row => [title, `${post}Transfer-Encoding: chunked\r\n\r\n${body}`]),
  ),
  // The gateway drops chunk extensions.
  ...forwardedAs(
    'chunked body',
    [forwardedPost('x'.repeat(700))],
    [
      [
        'extensions of 20 KiB in total',
        `${post}Transfer-Encoding: chunked\r\n\r\n${`1;${'a'.repeat(32)}\r\nx\r\n`.repeat(700)}0\r\n\r\n`,
      ],
    ],
  ),
  ...forwardedAs(
    'chunked body',
    [forwardedPost('0\r\n\r\nGET /x HTTP/1.1')],
    [
      [
        'a request in its data',
        `${post}Transfer-Encoding: chunked\r\n\r\n14\r\n0\r\n\r\nGET /x HTTP/1.1\r\n0\r\n\r\n`,
      ],
    ],
  ),
  ...rejected(
    'chunked body',
    [400],
    [
      [
        'in HTTP/1.0',
        `POST /api/users?{id} HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
      ],
    ],
  ),
];

const lines: HostileCase[] = [
  ...rejected(
    'request line',
    [400, 404, 405, 501, 505],
    [
      ['HTTP/0.9', `GET ${path}\r\n\r\n`],
      ['without a version', `GET ${path} \r\n${host}\r\n`],
      ['HTTP/1.2', `GET ${path} HTTP/1.2\r\n${host}\r\n`],
      ['HTTP/2.0', `GET ${path} HTTP/2.0\r\n${host}\r\n`],
      ['HTTP/0.9 as version', `GET ${path} HTTP/0.9\r\n${host}\r\n`],
      ['HTTP/11', `GET ${path} HTTP/11\r\n${host}\r\n`],
      ['HTTP/1.1.1', `GET ${path} HTTP/1.1.1\r\n${host}\r\n`],
      ['http in lower case', `GET ${path} http/1.1\r\n${host}\r\n`],
      ['another protocol', `GET ${path} ICE/1.0\r\n${host}\r\n`],
      ['a word after the version', `GET ${path} HTTP/1.1 x\r\n${host}\r\n`],
      ['two versions', `GET ${path} HTTP/1.1 HTTP/1.1\r\n${host}\r\n`],
      ['tabs for spaces', `GET\t${path}\tHTTP/1.1\r\n${host}\r\n`],
      ['a leading space', ` ${get}\r\n`],
      ['a carriage return for a space', `GET\r${path} HTTP/1.1\r\n${host}\r\n`],
      ['method in lower case', `get ${path} HTTP/1.1\r\n${host}\r\n`],
      ['method with a digit', `GE7 ${path} HTTP/1.1\r\n${host}\r\n`],
      ['method with NUL', `GE\x00T ${path} HTTP/1.1\r\n${host}\r\n`],
      ['method in quotes', `"GET" ${path} HTTP/1.1\r\n${host}\r\n`],
      ['method of 10 KiB', `${'A'.repeat(10_000)} ${path} HTTP/1.1\r\n${host}\r\n`],
      ['TRACE', `TRACE ${path} HTTP/1.1\r\n${host}\r\n`],
      ['OPTIONS *', `OPTIONS * HTTP/1.1\r\n${host}\r\n`],
      ['GET *', `GET * HTTP/1.1\r\n${host}\r\n`],
      ['PROPFIND', `PROPFIND ${path} HTTP/1.1\r\n${host}\r\n`],
      ['a method that the route does not allow', `PATCH ${path} HTTP/1.1\r\n${host}\r\n`],
      ['no path', `GET  HTTP/1.1\r\n${host}\r\n`],
      ['a path without a slash', `GET api/users/{id} HTTP/1.1\r\n${host}\r\n`],
      ['a space in the path', `GET /api/users/{id} x HTTP/1.1\r\n${host}\r\n`],
      ['NUL in the path', `GET /api/users/{id}\x00 HTTP/1.1\r\n${host}\r\n`],
      ['a bell in the path', `GET /api/users/{id}\x07 HTTP/1.1\r\n${host}\r\n`],
      ['DEL in the path', `GET /api/users/{id}\x7f HTTP/1.1\r\n${host}\r\n`],
      ['bytes above 127 in the path', `GET /api/users/{id}\xff\xfe HTTP/1.1\r\n${host}\r\n`],
      ['a carriage return in the path', `GET /api/users/{id}\rX: y HTTP/1.1\r\n${host}\r\n`],
      ['another scheme', `GET ftp://gateway.test${path} HTTP/1.1\r\n${host}\r\n`],
      ['a file URL', `GET file:///etc/passwd HTTP/1.1\r\n${host}\r\n`],
      ['a javascript URL', `GET javascript:alert(1) HTTP/1.1\r\n${host}\r\n`],
    ],
  ),
  ...rejected(
    'path',
    [400],
    [
      ['with dot segments', `GET /api/users/{id}/../../x HTTP/1.1\r\n${host}\r\n`],
      ['with encoded dot segments', `GET /api/users/%2e%2e/{id} HTTP/1.1\r\n${host}\r\n`],
      ['with dot segments encoded in upper case', `GET /api/users/%2E%2E HTTP/1.1\r\n${host}\r\n`],
      ['with partly encoded dot segments', `GET /api/users/.%2e HTTP/1.1\r\n${host}\r\n`],
      [
        'with dot segments and encoded slashes',
        `GET /api/users/{id}%2f..%2f..%2fx/health HTTP/1.1\r\n${host}\r\n`,
      ],
      ['with a single-dot segment', `GET /api/./users/{id} HTTP/1.1\r\n${host}\r\n`],
      ['with an encoded single-dot segment', `GET /api/users/%2e HTTP/1.1\r\n${host}\r\n`],
      ['with two slashes', `GET /api//users/{id} HTTP/1.1\r\n${host}\r\n`],
      ['with two leading slashes', `GET //api/users/{id} HTTP/1.1\r\n${host}\r\n`],
      ['that could be a host', `GET //evil.test/api/users/{id} HTTP/1.1\r\n${host}\r\n`],
      ['with backslashes', `GET /api\\users\\{id} HTTP/1.1\r\n${host}\r\n`],
      ['with a backslash after a dot segment', `GET /api/users/..\\{id} HTTP/1.1\r\n${host}\r\n`],
      ['with a fragment', `GET /api/users/{id}#x HTTP/1.1\r\n${host}\r\n`],
      ['with a bare %', `GET /api/users/{id}% HTTP/1.1\r\n${host}\r\n`],
      ['with % and no digits', `GET /api/users/{id}%zz HTTP/1.1\r\n${host}\r\n`],
      ['with % and one digit', `GET /api/users/{id}%2 HTTP/1.1\r\n${host}\r\n`],
      ['with %u', `GET /api/users/{id}%u002e HTTP/1.1\r\n${host}\r\n`],
      ['with encoded slashes only', `GET /api%2fusers%2f{id} HTTP/1.1\r\n${host}\r\n`],
      ['with quotes', `GET /api/users/{id}" HTTP/1.1\r\n${host}\r\n`],
      ['with brackets', `GET /api/users/<{id}> HTTP/1.1\r\n${host}\r\n`],
      ['with an encoded slash', `GET /api/users/%2f{id} HTTP/1.1\r\n${host}\r\n`],
      [
        'with an encoded slash and a dot segment',
        `GET /api/users/{id}%2f..%2fhealth HTTP/1.1\r\n${host}\r\n`,
      ],
      ['with double-encoded dot segments', `GET /api/users/%252e%252e%252f{id} HTTP/1.1\r\n${host}\r\n`],
      ['with a dot segment after an encoded backslash', `GET /api/users/{id}%5c.. HTTP/1.1\r\n${host}\r\n`],
      ['with a dot segment with a parameter', `GET /api/users/..;{id} HTTP/1.1\r\n${host}\r\n`],
      ['with an encoded slash after an aggregate', `GET /api/dashboard%2f..%2f{id} HTTP/1.1\r\n${host}\r\n`],
      ['with an encoded NUL', `GET /api/users/{id}%00 HTTP/1.1\r\n${host}\r\n`],
    ],
  ),
  ...rejected(
    'path',
    [404],
    [
      ['with a trailing slash', `GET /api/users/{id}/ HTTP/1.1\r\n${host}\r\n`],
      ['in upper case', `GET /API/USERS/{id} HTTP/1.1\r\n${host}\r\n`],
      ['with an encoded literal segment', `GET /api/%75sers/{id} HTTP/1.1\r\n${host}\r\n`],
      ['of the management port', `GET /metrics HTTP/1.1\r\n${host}\r\n`],
      ['of events', `POST /events HTTP/1.1\r\n${host}Content-Length: 2\r\n\r\n{}`],
      ['with __proto__', `GET /api/__proto__/{id} HTTP/1.1\r\n${host}\r\n`],
    ],
  ),
  ...[
    ['an encoded line end', '{id}%0d%0aX:%20y'],
    ['overlong dots', '{id}%c0%ae%c0%ae'],
    ['double-encoded dots', '%252e%252e{id}'],
    ['a parameter', '{id};jsessionid=1'],
    ['three dots', '...{id}'],
    ['brackets', 'report[{id}].pdf'],
    ['a pipe', '{id}|b'],
    ['a caret', '{id}^b'],
    ['a colon and an at sign', '{id}:80@evil.test'],
    ['a tilde and a star', '~{id}*'],
  ].flatMap(([title = '', segment = '']) =>
    // Each is a single path segment, and its content is up to the service.
    forwardedAs(
      'path segment',
      [`GET /api/users/${segment}`],
      [[title, `GET /api/users/${segment} HTTP/1.1\r\n${host}\r\n`]],
    ),
  ),
  ...forwardedAs(
    'request line',
    [forwardedGet],
    [
      ['absolute URL', `GET http://gateway.test${path} HTTP/1.1\r\n${host}\r\n`],
      ['absolute URL of another host', `GET http://evil.test${path} HTTP/1.1\r\n${host}\r\n`],
      ['absolute URL with user info', `GET http://a:b@gateway.test${path} HTTP/1.1\r\n${host}\r\n`],
      ['absolute URL of a loopback address', `GET http://127.0.0.1:1${path} HTTP/1.1\r\n${host}\r\n`],
      ['absolute URL with an upper-case scheme', `GET HTTP://gateway.test${path} HTTP/1.1\r\n${host}\r\n`],
      // The parser treats RTSP/1.0 like HTTP/1.0.
      ['RTSP/1.0', `GET ${path} RTSP/1.0\r\n${host}\r\n`],
      ['after empty lines', `\r\n\r\n${get}\r\n`],
    ],
  ),
  ...forwardedAs(
    'request line',
    [`${forwardedGet}?a=%00&b=/../&c=http://evil.test/?d`],
    [
      [
        'query with special characters',
        `GET ${path}?a=%00&b=/../&c=http://evil.test/?d HTTP/1.1\r\n${host}\r\n`,
      ],
    ],
  ),
  {
    title: 'rejects request line: 20 KiB',
    steps: [`GET ${path}?${'a'.repeat(20_000)} HTTP/1.1\r\n${host}\r\n`],
    responses: [[431]],
    forwarded: [],
  },
  {
    title: 'closes the connection: CONNECT',
    steps: [`CONNECT evil.test:443 HTTP/1.1\r\n${host}\r\n`],
    responses: [],
    forwarded: [],
  },
];

const headers: HostileCase[] = [
  ...rejected(
    'header',
    [400],
    [
      ['two equal Host headers', `GET ${path} HTTP/1.1\r\n${host}${host}\r\n`],
      ['two Host headers', `GET ${path} HTTP/1.1\r\n${host}Host: evil.test\r\n\r\n`],
      ['two Host headers, one in upper case', `GET ${path} HTTP/1.1\r\n${host}HOST: evil.test\r\n\r\n`],
      ['two Host headers for an aggregate', `GET /api/dashboard HTTP/1.1\r\n${host}Host: evil.test\r\n\r\n`],
      ['two Host headers for the docs page', `GET /docs HTTP/1.1\r\n${host}Host: evil.test\r\n\r\n`],
      ['no Host header', `GET ${path} HTTP/1.1\r\n\r\n`],
      ['two Authorization headers', `${get}Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n`],
      [
        'two Content-Type headers',
        `${post}Content-Type: application/json\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}`,
      ],
      ['a space before the colon', `${get}X : y\r\n\r\n`],
      ['a space in the name', `${get}X y: z\r\n\r\n`],
      ['a tab in the name', `${get}X\ty: z\r\n\r\n`],
      ['NUL in the name', `${get}X\x00: y\r\n\r\n`],
      ['a bell in the name', `${get}X\x07: y\r\n\r\n`],
      ['DEL in the name', `${get}X\x7f: y\r\n\r\n`],
      ['a byte above 127 in the name', `${get}X\xe9: y\r\n\r\n`],
      ['brackets in the name', `${get}X[]: y\r\n\r\n`],
      ['a slash in the name', `${get}X/y: z\r\n\r\n`],
      ['no name', `${get}: y\r\n\r\n`],
      ['no colon', `${get}X\r\n\r\n`],
      ['only a colon', `${get}:\r\n\r\n`],
      ['NUL in the value', `${get}X: a\x00b\r\n\r\n`],
      ['a bell in the value', `${get}X: a\x07b\r\n\r\n`],
      ['DEL in the value', `${get}X: a\x7fb\r\n\r\n`],
      ['a carriage return in the value', `${get}X: a\rY: b\r\n\r\n`],
      ['a line feed in the value', `${get}X: a\nY: b\r\n\r\n`],
      ['continuation line', `${get}X: a\r\n b\r\n\r\n`],
      ['continuation line that starts with a tab', `${get}X: a\r\n\tb\r\n\r\n`],
      ['continuation line as the first line', `GET ${path} HTTP/1.1\r\n ${host}\r\n`],
      ['all lines end with line feeds', `GET ${path} HTTP/1.1\nHost: gateway.test\n\n`],
      ['request line ends with a line feed', `GET ${path} HTTP/1.1\n${host}\r\n`],
      ['head ends with line feeds', `${get}X: y\n\n`],
      ['all lines end with carriage returns', `GET ${path} HTTP/1.1\rHost: gateway.test\r\r`],
      ['a line ends with two carriage returns', `${get}X: y\r\r\n\r\n`],
    ],
  ),
  ...rejected(
    'header',
    [431],
    [
      ['a value of 20 KiB', `${get}X: ${'a'.repeat(20_000)}\r\n\r\n`],
      ['a name of 20 KiB', `${get}${'a'.repeat(20_000)}: x\r\n\r\n`],
      ['1000 headers', `${get}${'X-Header: some value\r\n'.repeat(1000)}\r\n`],
      ['257 headers', `${get}${'X-A: b\r\n'.repeat(256)}\r\n`],
      ['2500 short headers', `${get}${'a:b\r\n'.repeat(2500)}\r\n`],
      ['5000 short headers', `${get}${'a:b\r\n'.repeat(5000)}\r\n`],
      ['a cookie of 17 KiB', `${get}Cookie: ${'a'.repeat(17_000)}\r\n\r\n`],
    ],
  ),
  ...rejected(
    'header',
    [417, 501],
    [
      ['an upgrade', `${get}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n`],
      ['an unknown expectation', `${get}Expect: tea\r\n\r\n`],
    ],
  ),
  ...forwardedAs(
    'header',
    [forwardedGet],
    [
      ['Host with a path', 'Host: gateway.test/../x'],
      ['Host with user info', 'Host: a@evil.test'],
      ['unknown host', 'Host: evil.test'],
      ['Host with an IP address', 'Host: 169.254.169.254'],
      ['empty Host', 'Host:'],
      ['bytes above 127 in a value', `${host}X-Name: \xe9\xff`],
      ['an upgrade to TLS', `${host}Connection: Upgrade\r\nUpgrade: TLS/1.2`],
      ['an upgrade to tcp', `${host}Connection: Upgrade\r\nUpgrade: tcp`],
      [
        'an upgrade to h2c',
        `${host}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA`,
      ],
      ['Connection names Host', `${host}Connection: Host`],
      [
        'Connection names headers that the gateway sets',
        `${host}Connection: X-Forwarded-For, X-Correlation-Id, Via`,
      ],
      ['Connection names nothing', `${host}Connection: ,,;`],
      ['two Connection headers', `${host}Connection: close\r\nConnection: keep-alive`],
      [
        'hop-by-hop headers',
        `${host}Keep-Alive: timeout=1\r\nProxy-Connection: x\r\nProxy-Authorization: Basic x\r\nTE: trailers\r\nTrailer: X`,
      ],
      [
        'user headers',
        `${host}X-User-Id: 1\r\nX-User-Role: admin\r\nRemote-User: root\r\nX-Remote-User: root`,
      ],
      ['user headers with underscores', `${host}X_User_Id: 1\r\nx_user_role: admin`],
      [
        'user headers of authentication proxies',
        `${host}X-Auth-Request-User: a\r\nX-Forwarded-User: a\r\nX-Forwarded-Groups: admin\r\nX-Consumer-Id: 1`,
      ],
      [
        'client certificate headers',
        `${host}X-SSL-Client-Cert: a\r\nX-Forwarded-Client-Cert: By=x\r\nX-Client-Cert: a`,
      ],
      [
        'client address headers',
        `${host}X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nTrue-Client-IP: 10.0.0.1`,
      ],
      [
        'forwarded host headers',
        `${host}X-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /x`,
      ],
      [
        'method override headers',
        `${host}X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\nX-HTTP-Method: DELETE`,
      ],
      ['path override headers', `${host}X-Original-URL: /admin\r\nX-Rewrite-URL: /admin`],
      ['a correlation id with an encoded line end', `${host}X-Correlation-Id: a%0d%0ab`],
      ['a correlation id that is too long', `${host}X-Correlation-Id: ${'a'.repeat(200)}`],
      ['a negative timeout', `${host}X-Request-Timeout-Ms: -1`],
      ['a timeout that is not a number', `${host}X-Request-Timeout-Ms: soon`],
      ['a timeout that is too long', `${host}X-Request-Timeout-Ms: 999999999999`],
      ['an invalid traceparent', `${host}traceparent: 00-0-0-zz`],
      ['Range with 501 ranges', `${host}Range: bytes=${'0-0,'.repeat(500)}0-0`],
      ['Origin: null', `${host}Origin: null`],
    ].map(([title = '', lines = '']): Row => [title, `GET ${path} HTTP/1.1\r\n${lines}\r\n\r\n`]),
  ),
  ...forwardedAs(
    'header',
    [forwardedGet],
    [
      ['HTTP/1.0 without Host', `GET ${path} HTTP/1.0\r\n\r\n`],
      ['100 headers', `${get}${'X-A: b\r\n'.repeat(100)}\r\n`],
      ['255 headers', `${get}${'X-A: b\r\n'.repeat(255)}\r\n`],
    ],
  ),
];

const connections: HostileCase[] = [
  ...forwardedAs(
    'pipelined requests',
    [forwardedGet, `${forwardedGet}2`],
    [
      ['two at once', `${get}\r\nGET ${path}2 HTTP/1.1\r\n${host}\r\n`],
      ['two, byte by byte', [{ bytes: `${get}\r\nGET ${path}2 HTTP/1.1\r\n${host}\r\n` }]],
      ['two with an empty line between', `${get}\r\n\r\nGET ${path}2 HTTP/1.1\r\n${host}\r\n`],
    ],
  ),
  ...forwardedAs(
    'pipelined requests',
    [forwardedPost('hello'), forwardedGet],
    [
      ['after a body', `${post}Content-Length: 5\r\n\r\nhello${get}\r\n`],
      ['after a chunked body', `${post}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n${get}\r\n`],
    ],
  ),
  ...forwardedAs(
    'pipelined requests',
    Array.from({ length: 50 }, () => forwardedGet),
    [['fifty at once', `${get}\r\n`.repeat(50)]],
  ),
  // The gateway closes the connection at the error and drops the response to the valid request before it.
  ...(
    [
      ['a valid request, then a malformed one', `${get}\r\nGET ${path}/x y HTTP/1.1\r\n\r\n`, forwardedGet],
      [
        'a body longer than its length',
        `${post}Content-Length: 5\r\n\r\nhelloGARBAGE\r\n\r\n`,
        forwardedPost('hello'),
      ],
      ['a body without a length', `${post}\r\nhello\r\n\r\n`, 'POST /api/users?{id}'],
    ] as const
  ).map(
    ([title, bytes, mayForward]): HostileCase => ({
      title: `rejects pipelined requests: ${title}`,
      steps: [bytes],
      responses: [[400]],
      forwarded: [],
      mayForward,
    }),
  ),
  {
    title: 'rejects pipelined requests: requests inside a body over the limit',
    steps: [`${post}Content-Length: 100000\r\n\r\n${smuggled.repeat(10)}`],
    responses: [[413]],
    forwarded: [],
  },
  {
    title: 'rejects pipelined requests: a request inside the body of a method that is not allowed',
    steps: [`PATCH ${path} HTTP/1.1\r\n${host}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`],
    responses: [[405]],
    forwarded: [],
  },
  ...rejected(
    'bytes of another protocol',
    [400],
    [
      ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
      ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['SSH', 'SSH-2.0-OpenSSH_9.2\r\n'],
      ['SMTP', 'EHLO evil.test\r\n'],
      ['Redis', '*1\r\n$4\r\nPING\r\n'],
      ['PROXY protocol, version 1', `PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n${get}\r\n`],
      ['PROXY protocol, version 2', `\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c${get}\r\n`],
      ['an HTTP response', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
      ['NUL bytes', '\x00'.repeat(100)],
      ['bytes above 127', '\xff'.repeat(100)],
      ['1 MiB without a line end', 'A'.repeat(1024 * 1024)],
    ],
  ),
  {
    title: 'closes the connection: half-closed after a request',
    steps: [`${get}\r\n`, 'FIN'],
    responses: [],
    forwarded: [],
    mayForward: forwardedGet,
  },
  { title: 'closes the connection: half-closed immediately', steps: ['FIN'], responses: [], forwarded: [] },
  ...(
    [
      ['in the request line', ['GET /api/us', 'FIN']],
      ['in a header', [`${get}X: `, 'FIN']],
      ['before the empty line', [get, 'FIN']],
    ] as const
  ).map(
    ([title, steps]): HostileCase => ({
      title: `rejects a request that ends ${title}`,
      steps,
      responses: [[400]],
      forwarded: [],
    }),
  ),
  ...(
    [
      ['in a body with a length', [`${post}Content-Length: 10\r\n\r\nhel`, 50, 'FIN']],
      ['in a chunk', [`${post}Transfer-Encoding: chunked\r\n\r\n5\r\nhel`, 50, 'FIN']],
      ['between chunks', [`${post}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n`, 50, 'FIN']],
    ] as const
  ).map(
    ([title, steps]): HostileCase => ({
      title: `rejects a request that ends ${title}`,
      steps,
      responses: [[400]],
      forwarded: [],
    }),
  ),
  ...(
    [
      ['a body with a length stops', [`${post}Content-Length: 10\r\n\r\nhel`]],
      ['a body with a length does not start', [`${post}Content-Length: 10\r\n\r\n`]],
      ['chunks stop', [`${post}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n`]],
      [
        'a chunk of 2^64 - 1 bytes stops',
        [`${post}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n`],
      ],
      ['a chunk size stops', [`${post}Transfer-Encoding: chunked\r\n\r\n3`]],
      ['trailers stop', [`${post}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\nX: `]],
    ] as const
  ).map(
    ([title, steps]): HostileCase => ({
      title: `times out: ${title}`,
      steps,
      responses: [[408]],
      forwarded: [],
    }),
  ),
  ...(
    [
      ['a head that never ends', [{ every: 100, send: 'X-A: b\r\n' }]],
      ['a head that stops', ['GET /api/users/1 HTTP/1.1\r\n']],
      ['no bytes at all', []],
    ] as const
  ).map(
    ([title, steps]): HostileCase => ({
      title: `times out: ${title}`,
      steps: title === 'a head that never ends' ? [get, ...steps] : steps,
      responses: [[408]],
      forwarded: [],
      timeoutMs: 16_000,
    }),
  ),
];

/** All hostile cases. */
export const hostileCases: readonly HostileCase[] = [
  ...framing,
  ...codingAlone,
  ...lengths,
  ...chunks,
  ...lines,
  ...headers,
  ...connections,
];
