import type { Step } from './raw-client.ts';

/** Something that a client could send, and all that may come of it. */
export interface HostileCase {
  readonly title: string;
  /** `{id}` in it is a number that no other case has. */
  readonly steps: readonly Step[];
  /** Statuses of the answers, one of several for each; none when the connection just closes. */
  readonly answers: readonly (readonly number[])[];
  /** Requests that reach the service: method, target and, after a blank, the body. */
  readonly passes: readonly string[];
  /** One that may reach it as well, or not. */
  readonly mayPass?: string;
  /** Milliseconds that it may take; 3000 by default. */
  readonly patienceMs?: number;
}

const path = '/api/users/{id}';
const host = 'Host: gateway.test\r\n';
const get = `GET ${path} HTTP/1.1\r\n${host}`;
const post = `POST /api/users?{id} HTTP/1.1\r\n${host}`;
const smuggled = `GET ${path}/smuggled HTTP/1.1\r\n${host}\r\n`;
const passed = `GET ${path}`;
const posted = (body: string): string => `POST /api/users?{id} ${body}`;

type Row = readonly [title: string, bytes: string | readonly Step[]];

/** Each is refused with one of the statuses, and nothing reaches the service. */
function refused(kind: string, statuses: readonly number[], rows: readonly Row[]): HostileCase[] {
  return rows.map(([title, steps]) => ({
    title: `${kind}: ${title}`,
    steps: typeof steps === 'string' ? [steps] : steps,
    answers: [statuses],
    passes: [],
  }));
}

/** Each reaches the service as what it means, and as nothing else. */
function goesOn(kind: string, passes: readonly string[], rows: readonly Row[]): HostileCase[] {
  return rows.map(([title, steps]) => ({
    title: `${kind}: ${title}`,
    steps: typeof steps === 'string' ? [steps] : steps,
    answers: passes.map(() => [200]),
    passes,
  }));
}

/** Ways to write `Transfer-Encoding: chunked` that one parser takes for it and another does not. */
const codings: readonly Row[] = [
  ['plain', 'Transfer-Encoding: chunked\r\n'],
  ['in capitals', 'TRANSFER-ENCODING: CHUNKED\r\n'],
  ['unknown coding', 'Transfer-Encoding: xchunked\r\n'],
  ['coding cut short', 'Transfer-Encoding: chunk\r\n'],
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
  ['with a comma', 'Transfer-Encoding: chunked,\r\n'],
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
  ['on a line of its own', 'Transfer-Encoding:\r\n chunked\r\n'],
  ['on a line of its own, after a tab', 'Transfer-Encoding:\r\n\tchunked\r\n'],
  ['in the middle of two lines', 'Transfer-Encoding: chun\r\n ked\r\n'],
  ['behind a bare line feed', 'X: y\nTransfer-Encoding: chunked\r\n'],
  ['behind a bare carriage return', 'X: y\rTransfer-Encoding: chunked\r\n'],
  ['after a space', 'X: y\r\n Transfer-Encoding: chunked\r\n'],
];

/** How each of them ends with a length beside it, and alone, when it is not refused: they are headers of another name. */
const framing: HostileCase[] = codings.flatMap(([title, coding]) => {
  const body = `0\r\n\r\n${smuggled}`;
  return [
    ...refused(
      'coding and length',
      [400],
      [
        [title, `${post}Content-Length: ${body.length - 2}\r\n${coding}\r\n${body}`],
        [`${title}, length last`, `${post}${coding}Content-Length: 4\r\n\r\n${body}`],
      ],
    ),
  ];
});

const codingAlone: HostileCase[] = refused(
  'coding alone',
  [400],
  codings
    .filter(([title]) => !['plain', 'in capitals'].includes(title))
    .map(([title, coding]): Row => [title, `${post}${coding}\r\n5\r\nhello\r\n0\r\n\r\n`]),
);

const lengths: HostileCase[] = [
  ...refused(
    'length',
    [400, 413],
    [
      ['two, the same', 'Content-Length: 5\r\nContent-Length: 5\r\n'],
      ['two, different', 'Content-Length: 5\r\nContent-Length: 6\r\n'],
      ['two, the first 0', 'Content-Length: 0\r\nContent-Length: 5\r\n'],
      ['a list', 'Content-Length: 5, 5\r\n'],
      ['a comma', 'Content-Length: 5,\r\n'],
      ['plus', 'Content-Length: +5\r\n'],
      ['minus', 'Content-Length: -5\r\n'],
      ['minus 0', 'Content-Length: -0\r\n'],
      ['hexadecimal', 'Content-Length: 0x5\r\n'],
      ['decimals', 'Content-Length: 5.0\r\n'],
      ['an exponent', 'Content-Length: 5e0\r\n'],
      ['an underscore', 'Content-Length: 1_0\r\n'],
      ['a semicolon', 'Content-Length: 5;x\r\n'],
      ['words', 'Content-Length: five\r\n'],
      ['quotes', 'Content-Length: "5"\r\n'],
      ['empty', 'Content-Length:\r\n'],
      ['blanks', 'Content-Length:   \r\n'],
      ['two numbers', 'Content-Length: 5 5\r\n'],
      ['2 to the 64th', 'Content-Length: 18446744073709551616\r\n'],
      ['more digits than any number', `Content-Length: ${'9'.repeat(400)}\r\n`],
      ['more than is taken', 'Content-Length: 9007199254740993\r\n'],
      ['a space before the colon', 'Content-Length : 5\r\n'],
      ['a space in the name', 'Content Length: 5\r\n'],
      ['NUL', 'Content-Length: 5\x00\r\n'],
      ['a vertical tab', 'Content-Length: \x0b5\r\n'],
      ['on two lines', 'Content-Length:\r\n 5\r\n'],
      ['a tab after it', 'Content-Length: 5\t\r\n'],
      ['Arabic digits', 'Content-Length: \xd9\xa5\r\n'],
    ].map(([title = '', length = '']): Row => [title, `${post}${length}\r\nhello`]),
  ),
  ...goesOn(
    'length',
    [posted('hello')],
    [
      ['zeros before it', `${post}Content-Length: 0000000005\r\n\r\nhello`],
      ['hidden in another header', `${post}X-Length: Content-Length: 3\r\nContent-Length: 5\r\n\r\nhello`],
      ['named by Connection', `${post}Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello`],
      ['spelt with an underscore beside it', `${post}Content_Length: 3\r\nContent-Length: 5\r\n\r\nhello`],
    ],
  ),
  ...goesOn('length', [`${passed} hello`], [['of a GET', `${get}Content-Length: 5\r\n\r\nhello`]]),
  ...goesOn('length', [passed], [['0 of a GET', `${get}Content-Length: 0\r\n\r\n`]]),
];

const chunks: HostileCase[] = [
  ...refused(
    'chunk',
    [400, 413, 431],
    [
      ['size is no number', 'g\r\nhello\r\n0\r\n\r\n'],
      ['size is empty', '\r\nhello\r\n0\r\n\r\n'],
      ['size with 0x', '0x5\r\nhello\r\n0\r\n\r\n'],
      ['size with plus', '+5\r\nhello\r\n0\r\n\r\n'],
      ['size with minus', '-5\r\nhello\r\n0\r\n\r\n'],
      ['size after a space', ' 5\r\nhello\r\n0\r\n\r\n'],
      ['size with an underscore', '0_5\r\nhello\r\n0\r\n\r\n'],
      ['size of 17 digits', 'FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n'],
      ['size with NUL', '5\x00\r\nhello\r\n0\r\n\r\n'],
      ['size ends with a line feed', '5\nhello\r\n0\r\n\r\n'],
      ['size ends with a carriage return', '5\rhello\r\n0\r\n\r\n'],
      ['data longer than its size', '3\r\nhello\r\n0\r\n\r\n'],
      ['data ends with a line feed', '5\r\nhello\n0\r\n\r\n'],
      ['data ends with other bytes', '5\r\nhelloXX0\r\n\r\n'],
      ['data ends with nothing', '5\r\nhello0\r\n\r\n'],
      ['last one ends with a line feed', '5\r\nhello\r\n0\n\n'],
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
      ['more than is taken, in many', `${`1000\r\n${'x'.repeat(4096)}\r\n`.repeat(20)}0\r\n\r\n`],
    ].map(([title = '', body = '']): Row => [title, `${post}Transfer-Encoding: chunked\r\n\r\n${body}`]),
  ),
  ...goesOn(
    'chunk',
    [posted('hello')],
    [
      ['plain', '5\r\nhello\r\n0\r\n\r\n'],
      ['zeros before the size', '0000000000005\r\nhello\r\n0\r\n\r\n'],
      ['an extension', '5;name=value\r\nhello\r\n0\r\n\r\n'],
      ['an extension in quotes', '5;name="a b"\r\nhello\r\n0\r\n\r\n'],
      ['an extension that looks like a chunk', '5;0\r\nhello\r\n0\r\n\r\n'],
      ['an extension of the last', '5\r\nhello\r\n0;last\r\n\r\n'],
      ['one byte each', '1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n'],
      ['a trailer', '5\r\nhello\r\n0\r\nX-User-Id: 1\r\n\r\n'],
      ['a host as its trailer', '5\r\nhello\r\n0\r\nHost: evil.test\r\n\r\n'],
    ].map(([title = '', body = '']): Row => [title, `${post}Transfer-Encoding: chunked\r\n\r\n${body}`]),
  ),
  // What is beside the data is dropped: the service sees none of it.
  ...goesOn(
    'chunk',
    [posted('x'.repeat(700))],
    [
      [
        'extensions of 20 KiB in all',
        `${post}Transfer-Encoding: chunked\r\n\r\n${`1;${'a'.repeat(32)}\r\nx\r\n`.repeat(700)}0\r\n\r\n`,
      ],
    ],
  ),
  ...goesOn(
    'chunk',
    [posted('0\r\n\r\nGET /x HTTP/1.1')],
    [
      [
        'a request in its data',
        `${post}Transfer-Encoding: chunked\r\n\r\n14\r\n0\r\n\r\nGET /x HTTP/1.1\r\n0\r\n\r\n`,
      ],
    ],
  ),
  ...refused(
    'chunk',
    [400],
    [
      [
        'with HTTP/1.0',
        `POST /api/users?{id} HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
      ],
    ],
  ),
];

const lines: HostileCase[] = [
  ...refused(
    'request line',
    [400, 404, 405, 501, 505],
    [
      ['HTTP/0.9', `GET ${path}\r\n\r\n`],
      ['without a version', `GET ${path} \r\n${host}\r\n`],
      ['HTTP/1.2', `GET ${path} HTTP/1.2\r\n${host}\r\n`],
      ['HTTP/2.0', `GET ${path} HTTP/2.0\r\n${host}\r\n`],
      ['HTTP/0.9 by name', `GET ${path} HTTP/0.9\r\n${host}\r\n`],
      ['HTTP/11', `GET ${path} HTTP/11\r\n${host}\r\n`],
      ['HTTP/1.1.1', `GET ${path} HTTP/1.1.1\r\n${host}\r\n`],
      ['http in lower case', `GET ${path} http/1.1\r\n${host}\r\n`],
      ['another protocol', `GET ${path} ICE/1.0\r\n${host}\r\n`],
      ['a word after the version', `GET ${path} HTTP/1.1 x\r\n${host}\r\n`],
      ['two versions', `GET ${path} HTTP/1.1 HTTP/1.1\r\n${host}\r\n`],
      ['a tab between', `GET\t${path}\tHTTP/1.1\r\n${host}\r\n`],
      ['a space before', ` ${get}\r\n`],
      ['a carriage return for a space', `GET\r${path} HTTP/1.1\r\n${host}\r\n`],
      ['method in lower case', `get ${path} HTTP/1.1\r\n${host}\r\n`],
      ['method with a digit', `GE7 ${path} HTTP/1.1\r\n${host}\r\n`],
      ['method with NUL', `GE\x00T ${path} HTTP/1.1\r\n${host}\r\n`],
      ['method in quotes', `"GET" ${path} HTTP/1.1\r\n${host}\r\n`],
      ['method of 10 KiB', `${'A'.repeat(10_000)} ${path} HTTP/1.1\r\n${host}\r\n`],
      ['TRACE', `TRACE ${path} HTTP/1.1\r\n${host}\r\n`],
      ['OPTIONS of all', `OPTIONS * HTTP/1.1\r\n${host}\r\n`],
      ['GET of all', `GET * HTTP/1.1\r\n${host}\r\n`],
      ['PROPFIND', `PROPFIND ${path} HTTP/1.1\r\n${host}\r\n`],
      ['a method that the route has not', `PATCH ${path} HTTP/1.1\r\n${host}\r\n`],
      ['no path', `GET  HTTP/1.1\r\n${host}\r\n`],
      ['a path without a slash', `GET api/users/{id} HTTP/1.1\r\n${host}\r\n`],
      ['a blank in the path', `GET /api/users/{id} x HTTP/1.1\r\n${host}\r\n`],
      ['NUL in the path', `GET /api/users/{id}\x00 HTTP/1.1\r\n${host}\r\n`],
      ['a bell in the path', `GET /api/users/{id}\x07 HTTP/1.1\r\n${host}\r\n`],
      ['DEL in the path', `GET /api/users/{id}\x7f HTTP/1.1\r\n${host}\r\n`],
      ['bytes above 127 in the path', `GET /api/users/{id}\xff\xfe HTTP/1.1\r\n${host}\r\n`],
      ['a carriage return in the path', `GET /api/users/{id}\rX: y HTTP/1.1\r\n${host}\r\n`],
      ['another scheme', `GET ftp://gateway.test${path} HTTP/1.1\r\n${host}\r\n`],
      ['a file', `GET file:///etc/passwd HTTP/1.1\r\n${host}\r\n`],
      ['a script', `GET javascript:alert(1) HTTP/1.1\r\n${host}\r\n`],
    ],
  ),
  ...refused(
    'path',
    [400],
    [
      ['of parents', `GET /api/users/{id}/../../x HTTP/1.1\r\n${host}\r\n`],
      ['of parents, encoded', `GET /api/users/%2e%2e/{id} HTTP/1.1\r\n${host}\r\n`],
      ['of parents, encoded in capitals', `GET /api/users/%2E%2E HTTP/1.1\r\n${host}\r\n`],
      ['of parents, half encoded', `GET /api/users/.%2e HTTP/1.1\r\n${host}\r\n`],
      [
        'of parents, the slash encoded too',
        `GET /api/users/{id}%2f..%2f..%2fx/health HTTP/1.1\r\n${host}\r\n`,
      ],
      ['of itself', `GET /api/./users/{id} HTTP/1.1\r\n${host}\r\n`],
      ['of itself, encoded', `GET /api/users/%2e HTTP/1.1\r\n${host}\r\n`],
      ['with two slashes', `GET /api//users/{id} HTTP/1.1\r\n${host}\r\n`],
      ['with two slashes at its begin', `GET //api/users/{id} HTTP/1.1\r\n${host}\r\n`],
      ['that could be a host', `GET //evil.test/api/users/{id} HTTP/1.1\r\n${host}\r\n`],
      ['with backslashes', `GET /api\\users\\{id} HTTP/1.1\r\n${host}\r\n`],
      ['with a backslash and parents', `GET /api/users/..\\{id} HTTP/1.1\r\n${host}\r\n`],
      ['with a fragment', `GET /api/users/{id}#x HTTP/1.1\r\n${host}\r\n`],
      ['with % alone', `GET /api/users/{id}% HTTP/1.1\r\n${host}\r\n`],
      ['with % and no digits', `GET /api/users/{id}%zz HTTP/1.1\r\n${host}\r\n`],
      ['with % and one digit', `GET /api/users/{id}%2 HTTP/1.1\r\n${host}\r\n`],
      ['with %u', `GET /api/users/{id}%u002e HTTP/1.1\r\n${host}\r\n`],
      ['encoded slash for a slash', `GET /api%2fusers%2f{id} HTTP/1.1\r\n${host}\r\n`],
      ['with quotes', `GET /api/users/{id}" HTTP/1.1\r\n${host}\r\n`],
      ['with brackets', `GET /api/users/<{id}> HTTP/1.1\r\n${host}\r\n`],
      ['with an encoded slash', `GET /api/users/%2f{id} HTTP/1.1\r\n${host}\r\n`],
      ['with an encoded slash and parents', `GET /api/users/{id}%2f..%2fhealth HTTP/1.1\r\n${host}\r\n`],
      ['of parents, encoded twice', `GET /api/users/%252e%252e%252f{id} HTTP/1.1\r\n${host}\r\n`],
      ['of parents behind an encoded backslash', `GET /api/users/{id}%5c.. HTTP/1.1\r\n${host}\r\n`],
      ['of parents with a parameter', `GET /api/users/..;{id} HTTP/1.1\r\n${host}\r\n`],
      ['with an encoded slash in an aggregate', `GET /api/dashboard%2f..%2f{id} HTTP/1.1\r\n${host}\r\n`],
      ['with NUL, encoded', `GET /api/users/{id}%00 HTTP/1.1\r\n${host}\r\n`],
    ],
  ),
  ...refused(
    'path',
    [404],
    [
      ['with a slash at its end', `GET /api/users/{id}/ HTTP/1.1\r\n${host}\r\n`],
      ['in capitals', `GET /API/USERS/{id} HTTP/1.1\r\n${host}\r\n`],
      ['encoded where it is literal', `GET /api/%75sers/{id} HTTP/1.1\r\n${host}\r\n`],
      ['of the management port', `GET /metrics HTTP/1.1\r\n${host}\r\n`],
      ['of events', `POST /events HTTP/1.1\r\n${host}Content-Length: 2\r\n\r\n{}`],
      ['of a prototype', `GET /api/__proto__/{id} HTTP/1.1\r\n${host}\r\n`],
    ],
  ),
  ...[
    ['a line end, encoded', '{id}%0d%0aX:%20y'],
    ['overlong dots', '{id}%c0%ae%c0%ae'],
    ['dots encoded twice', '%252e%252e{id}'],
    ['a parameter', '{id};jsessionid=1'],
    ['three dots', '...{id}'],
    ['brackets', 'report[{id}].pdf'],
    ['a pipe', '{id}|b'],
    ['a caret', '{id}^b'],
    ['a colon and an at sign', '{id}:80@evil.test'],
    ['a tilde and a star', '~{id}*'],
  ].flatMap(([title = '', segment = '']) =>
    // One segment for the gateway and for every service that reads paths as they are: what is in it is the service's to judge.
    goesOn(
      'segment',
      [`GET /api/users/${segment}`],
      [[title, `GET /api/users/${segment} HTTP/1.1\r\n${host}\r\n`]],
    ),
  ),
  ...goesOn(
    'request line',
    [passed],
    [
      ['of a URL', `GET http://gateway.test${path} HTTP/1.1\r\n${host}\r\n`],
      ['of a URL of another host', `GET http://evil.test${path} HTTP/1.1\r\n${host}\r\n`],
      ['of a URL with a user', `GET http://a:b@gateway.test${path} HTTP/1.1\r\n${host}\r\n`],
      ['of a URL of the service itself', `GET http://127.0.0.1:1${path} HTTP/1.1\r\n${host}\r\n`],
      ['of a URL in capitals', `GET HTTP://gateway.test${path} HTTP/1.1\r\n${host}\r\n`],
      // The parser takes the name for HTTP, and so it means HTTP/1.0.
      ['of RTSP', `GET ${path} RTSP/1.0\r\n${host}\r\n`],
      ['after empty lines', `\r\n\r\n${get}\r\n`],
    ],
  ),
  ...goesOn(
    'request line',
    [`${passed}?a=%00&b=/../&c=http://evil.test/?d`],
    [
      [
        'a query with anything in it',
        `GET ${path}?a=%00&b=/../&c=http://evil.test/?d HTTP/1.1\r\n${host}\r\n`,
      ],
    ],
  ),
  {
    title: 'request line: of 20 KiB',
    steps: [`GET ${path}?${'a'.repeat(20_000)} HTTP/1.1\r\n${host}\r\n`],
    answers: [[431]],
    passes: [],
  },
  {
    title: 'request line: CONNECT',
    steps: [`CONNECT evil.test:443 HTTP/1.1\r\n${host}\r\n`],
    answers: [],
    passes: [],
  },
];

const headers: HostileCase[] = [
  ...refused(
    'header',
    [400],
    [
      ['two hosts, the same', `GET ${path} HTTP/1.1\r\n${host}${host}\r\n`],
      ['two hosts', `GET ${path} HTTP/1.1\r\n${host}Host: evil.test\r\n\r\n`],
      ['two hosts, one in capitals', `GET ${path} HTTP/1.1\r\n${host}HOST: evil.test\r\n\r\n`],
      ['two hosts before an aggregate', `GET /api/dashboard HTTP/1.1\r\n${host}Host: evil.test\r\n\r\n`],
      ['two hosts before a page', `GET /docs HTTP/1.1\r\n${host}Host: evil.test\r\n\r\n`],
      ['no host', `GET ${path} HTTP/1.1\r\n\r\n`],
      ['two tokens', `${get}Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n`],
      [
        'two types',
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
      ['folded', `${get}X: a\r\n b\r\n\r\n`],
      ['folded with a tab', `${get}X: a\r\n\tb\r\n\r\n`],
      ['folded before any', `GET ${path} HTTP/1.1\r\n ${host}\r\n`],
      ['lines end with line feeds', `GET ${path} HTTP/1.1\nHost: gateway.test\n\n`],
      ['first line ends with a line feed', `GET ${path} HTTP/1.1\n${host}\r\n`],
      ['the head ends with line feeds', `${get}X: y\n\n`],
      ['lines end with carriage returns', `GET ${path} HTTP/1.1\rHost: gateway.test\r\r`],
      ['a line end of two carriage returns', `${get}X: y\r\r\n\r\n`],
    ],
  ),
  ...refused(
    'header',
    [431],
    [
      ['of 20 KiB', `${get}X: ${'a'.repeat(20_000)}\r\n\r\n`],
      ['a name of 20 KiB', `${get}${'a'.repeat(20_000)}: x\r\n\r\n`],
      ['1000 of them', `${get}${'X-Header: some value\r\n'.repeat(1000)}\r\n`],
      ['257 of them', `${get}${'X-A: b\r\n'.repeat(256)}\r\n`],
      ['2500 short ones', `${get}${'a:b\r\n'.repeat(2500)}\r\n`],
      ['5000 short ones', `${get}${'a:b\r\n'.repeat(5000)}\r\n`],
      ['a cookie of 17 KiB', `${get}Cookie: ${'a'.repeat(17_000)}\r\n\r\n`],
    ],
  ),
  ...refused(
    'header',
    [417, 501],
    [
      ['an upgrade', `${get}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n`],
      ['an expectation that nobody has', `${get}Expect: tea\r\n\r\n`],
    ],
  ),
  ...goesOn(
    'header',
    [passed],
    [
      ['a host with a path', 'Host: gateway.test/../x'],
      ['a host with a user', 'Host: a@evil.test'],
      ['a host of nobody', 'Host: evil.test'],
      ['a host of an address', 'Host: 169.254.169.254'],
      ['an empty host', 'Host:'],
      ['bytes above 127 in a value', `${host}X-Name: \xe9\xff`],
      ['an upgrade to TLS', `${host}Connection: Upgrade\r\nUpgrade: TLS/1.2`],
      ['an upgrade to a shell', `${host}Connection: Upgrade\r\nUpgrade: tcp`],
      [
        'an upgrade that is none',
        `${host}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA`,
      ],
      ['Connection names the host', `${host}Connection: Host`],
      [
        'Connection names what the gateway writes',
        `${host}Connection: X-Forwarded-For, X-Correlation-Id, Via`,
      ],
      ['Connection names nothing', `${host}Connection: ,,;`],
      ['Connection in two', `${host}Connection: close\r\nConnection: keep-alive`],
      [
        'hop by hop',
        `${host}Keep-Alive: timeout=1\r\nProxy-Connection: x\r\nProxy-Authorization: Basic x\r\nTE: trailers\r\nTrailer: X`,
      ],
      ['a user', `${host}X-User-Id: 1\r\nX-User-Role: admin\r\nRemote-User: root\r\nX-Remote-User: root`],
      ['a user with underscores', `${host}X_User_Id: 1\r\nx_user_role: admin`],
      [
        'a user of a proxy',
        `${host}X-Auth-Request-User: a\r\nX-Forwarded-User: a\r\nX-Forwarded-Groups: admin\r\nX-Consumer-Id: 1`,
      ],
      [
        'a client certificate',
        `${host}X-SSL-Client-Cert: a\r\nX-Forwarded-Client-Cert: By=x\r\nX-Client-Cert: a`,
      ],
      [
        'an address',
        `${host}X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nTrue-Client-IP: 10.0.0.1`,
      ],
      [
        'another host by proxy',
        `${host}X-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /x`,
      ],
      [
        'another method',
        `${host}X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\nX-HTTP-Method: DELETE`,
      ],
      ['another path', `${host}X-Original-URL: /admin\r\nX-Rewrite-URL: /admin`],
      ['a correlation id of lines', `${host}X-Correlation-Id: a%0d%0ab`],
      ['a correlation id too long', `${host}X-Correlation-Id: ${'a'.repeat(200)}`],
      ['a deadline below 0', `${host}X-Request-Timeout-Ms: -1`],
      ['a deadline of no number', `${host}X-Request-Timeout-Ms: soon`],
      ['a deadline beyond all', `${host}X-Request-Timeout-Ms: 999999999999`],
      ['a trace of nothing', `${host}traceparent: 00-0-0-zz`],
      ['a range of ranges', `${host}Range: bytes=${'0-0,'.repeat(500)}0-0`],
      ['a preflight', `${host}Origin: null`],
    ].map(([title = '', lines = '']): Row => [title, `GET ${path} HTTP/1.1\r\n${lines}\r\n\r\n`]),
  ),
  ...goesOn(
    'header',
    [passed],
    [
      ['HTTP/1.0 without a host', `GET ${path} HTTP/1.0\r\n\r\n`],
      ['100 of them', `${get}${'X-A: b\r\n'.repeat(100)}\r\n`],
      ['255 of them', `${get}${'X-A: b\r\n'.repeat(255)}\r\n`],
    ],
  ),
];

const connections: HostileCase[] = [
  ...goesOn(
    'pipeline',
    [passed, `${passed}2`],
    [
      ['two at once', `${get}\r\nGET ${path}2 HTTP/1.1\r\n${host}\r\n`],
      ['two, byte by byte', [{ bytes: `${get}\r\nGET ${path}2 HTTP/1.1\r\n${host}\r\n` }]],
      ['two, an empty line between', `${get}\r\n\r\nGET ${path}2 HTTP/1.1\r\n${host}\r\n`],
    ],
  ),
  ...goesOn(
    'pipeline',
    [posted('hello'), passed],
    [
      ['after a body', `${post}Content-Length: 5\r\n\r\nhello${get}\r\n`],
      ['after chunks', `${post}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n${get}\r\n`],
    ],
  ),
  ...goesOn(
    'pipeline',
    Array.from({ length: 50 }, () => passed),
    [['fifty at once', `${get}\r\n`.repeat(50)]],
  ),
  // The connection ends with the fault, and with it the answer to what was right before: nobody else shares it.
  ...(
    [
      ['a good one, then none', `${get}\r\nGET ${path}/x y HTTP/1.1\r\n\r\n`, passed],
      [
        'a body longer than its length',
        `${post}Content-Length: 5\r\n\r\nhelloGARBAGE\r\n\r\n`,
        posted('hello'),
      ],
      ['a body without a length', `${post}\r\nhello\r\n\r\n`, 'POST /api/users?{id}'],
    ] as const
  ).map(
    ([title, bytes, mayPass]): HostileCase => ({
      title: `pipeline: ${title}`,
      ...{ steps: [bytes], answers: [[400]], passes: [], mayPass },
    }),
  ),
  {
    title: 'pipeline: a request behind a refused body',
    steps: [`${post}Content-Length: 100000\r\n\r\n${smuggled.repeat(10)}`],
    answers: [[413]],
    passes: [],
  },
  {
    title: 'pipeline: a request behind a method that is not taken',
    steps: [`PATCH ${path} HTTP/1.1\r\n${host}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`],
    answers: [[405]],
    passes: [],
  },
  ...refused(
    'bytes',
    [400],
    [
      ['of TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
      ['of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['of SSH', 'SSH-2.0-OpenSSH_9.2\r\n'],
      ['of SMTP', 'EHLO evil.test\r\n'],
      ['of Redis', '*1\r\n$4\r\nPING\r\n'],
      ['of a PROXY header', `PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n${get}\r\n`],
      ['of a PROXY header, binary', `\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c${get}\r\n`],
      ['of an answer', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
      ['of nothing', '\x00'.repeat(100)],
      ['above 127', '\xff'.repeat(100)],
      ['of a MiB', 'A'.repeat(1024 * 1024)],
    ],
  ),
  {
    title: 'end: half closed after a request',
    ...{ steps: [`${get}\r\n`, 'FIN'], answers: [], passes: [], mayPass: passed },
  },
  { title: 'end: at once', steps: ['FIN'], answers: [], passes: [] },
  ...(
    [
      ['in the request line', ['GET /api/us', 'FIN']],
      ['in a header', [`${get}X: `, 'FIN']],
      ['before the empty line', [get, 'FIN']],
    ] as const
  ).map(([title, steps]): HostileCase => ({ title: `end: ${title}`, steps, answers: [[400]], passes: [] })),
  ...(
    [
      ['in a body with a length', [`${post}Content-Length: 10\r\n\r\nhel`, 50, 'FIN']],
      ['in a chunk', [`${post}Transfer-Encoding: chunked\r\n\r\n5\r\nhel`, 50, 'FIN']],
      ['between chunks', [`${post}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n`, 50, 'FIN']],
    ] as const
  ).map(([title, steps]): HostileCase => ({ title: `end: ${title}`, steps, answers: [[400]], passes: [] })),
  ...(
    [
      ['a body with a length stops', [`${post}Content-Length: 10\r\n\r\nhel`]],
      ['a body with a length does not begin', [`${post}Content-Length: 10\r\n\r\n`]],
      ['chunks stop', [`${post}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n`]],
      [
        'a chunk of 2 to the 64th less 1',
        [`${post}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n`],
      ],
      ['a chunk size stops', [`${post}Transfer-Encoding: chunked\r\n\r\n3`]],
      ['trailers stop', [`${post}Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\nX: `]],
    ] as const
  ).map(([title, steps]): HostileCase => ({ title: `slow: ${title}`, steps, answers: [[408]], passes: [] })),
  ...(
    [
      ['a head, a byte a while', [{ every: 100, send: 'X-A: b\r\n' }]],
      ['a head that stops', ['GET /api/users/1 HTTP/1.1\r\n']],
      ['nothing at all', []],
    ] as const
  ).map(
    ([title, steps]): HostileCase => ({
      title: `slow: ${title}`,
      steps: title.startsWith('a head, a byte') ? [get, ...steps] : steps,
      answers: [[408]],
      passes: [],
      patienceMs: 16_000,
    }),
  ),
];

/** All of them. */
export const hostileCases: readonly HostileCase[] = [
  ...framing,
  ...codingAlone,
  ...lengths,
  ...chunks,
  ...lines,
  ...headers,
  ...connections,
];
