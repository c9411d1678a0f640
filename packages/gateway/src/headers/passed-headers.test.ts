import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { describe, it } from 'node:test';
import { Deadline } from '@zerda/chassis/deadline';
import fc from 'fast-check';
import { createResponseFilter, passedRequestHeaders, passedResponseHeaders } from './passed-headers.ts';

const token = fc.oneof(
  { weight: 4, arbitrary: fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,12}$/) },
  fc.constantFrom(
    'Connection',
    'TE',
    'Keep-Alive',
    'Via',
    'X-Forwarded-Port',
    'x-forwarded-for',
    'Content-Length',
  ),
);
const value = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/);
const fields = fc.array(fc.tuple(token, value), { maxLength: 12 });

/** Header fields, and names for `Connection`, most of them names of these fields. */
const fieldsAndNames = fc
  .tuple(fields, fc.array(fc.nat(12), { maxLength: 3 }))
  .map(([sent, indexes]) => [sent, indexes.map((index) => sent[index]?.[0] ?? 'absent')] as const);

const context = { correlationId: 'abc', deadline: Deadline.after(1000) };

const hopByHop =
  /^(connection|keep-alive|proxy-authenticate|proxy-authorization|proxy-connection|te|trailer|transfer-encoding|upgrade)$/i;

function requestWith(pairs: readonly (readonly [string, string])[]): IncomingMessage {
  const headers: Record<string, string> = {};
  for (const [name, text] of pairs) {
    const key = name.toLowerCase();
    headers[key] = headers[key] === undefined ? text : `${headers[key]}, ${text}`;
  }
  return {
    rawHeaders: pairs.flat(),
    headers,
    httpVersion: '1.1',
    socket: { remoteAddress: '192.0.2.1' },
  } as unknown as IncomingMessage;
}

function pairsOf(list: readonly string[]): [string, string][] {
  return Array.from({ length: list.length / 2 }, (_, index) => [
    list[2 * index] ?? '',
    list[2 * index + 1] ?? '',
  ]);
}

describe('forwarded request headers', () => {
  it('keep their order and spelling, without hop-by-hop headers and headers that the gateway sets', () => {
    fc.assert(
      fc.property(fieldsAndNames, ([sent, named]) => {
        const connection = named.join(', ');
        const all = [...sent, ...(connection === '' ? [] : [['Connection', connection] as const])];
        const passed = pairsOf(
          passedRequestHeaders(requestWith(all), {
            context,
            attempt: { ms: 1000, traceparent: undefined },
            forwardedHeaders: () => [],
            keepHost: false,
          }),
        );
        const dropped = new Set(
          [
            ...named,
            ...all.filter(([name]) => /^connection$/i.test(name)).flatMap(([, text]) => text.split(',')),
          ].map((name) => name.trim().toLowerCase()),
        );
        const gatewayHeaders =
          /^(expect|host|via|forwarded|x-forwarded-.+|x-correlation-id|x-request-timeout-ms|traceparent|tracestate|baggage)$/i;
        const expected = sent.filter(
          ([name]) => !hopByHop.test(name) && !gatewayHeaders.test(name) && !dropped.has(name.toLowerCase()),
        );
        assert.deepEqual(
          passed.filter(([name]) => !gatewayHeaders.test(name)),
          expected,
        );
        assert.equal(passed.filter(([name]) => name === 'via').length, 1);
        assert.ok(passed.every(([name]) => !hopByHop.test(name) && !/^x-forwarded-/i.test(name)));
      }),
    );
  });

  it('are filtered correctly when there are more names than the cache holds', () => {
    const passed = (name: string) =>
      passedRequestHeaders(requestWith([[name, 'x']]), {
        context,
        attempt: { ms: 1, traceparent: undefined },
        forwardedHeaders: () => [],
        keepHost: false,
      }).includes(name);
    for (let index = 0; index < 3000; index += 1) assert.equal(passed(`X-Name-${index}`), true);
    for (const name of ['X-Consumer-4711', 'X-consumer-4711', 'TE', 'x-forwarded-for'])
      assert.equal(passed(name), false, name);
  });

  it('contain the Host of the caller only if the route keeps it', () => {
    const request = requestWith([['Host', 'shop.test']]);
    const host = (keepHost: boolean) =>
      pairsOf(
        passedRequestHeaders(request, {
          context,
          attempt: { ms: 1, traceparent: undefined },
          forwardedHeaders: () => [],
          keepHost,
        }),
      ).find(([name]) => name.toLowerCase() === 'host')?.[1];
    assert.equal(host(true), 'shop.test');
    assert.equal(host(false), undefined);
  });
});

describe('forwarded response headers', () => {
  it('keep their order, without hop-by-hop headers and headers that the gateway sets', () => {
    fc.assert(
      fc.property(fieldsAndNames, ([sent, named]) => {
        const all = [...sent, ...named.map((name) => ['Connection', name] as const)];
        const raw = all.flat().map((text) => Buffer.from(text, 'latin1'));
        const passed = passedResponseHeaders(raw, createResponseFilter(new Set(['x-own'])), [
          'X-Own',
          'ours',
        ]);
        const dropped = new Set(
          all
            .filter(([name]) => /^connection$/i.test(name))
            .flatMap(([, text]) => text.split(','))
            .map((name) => name.trim().toLowerCase()),
        );
        assert.deepEqual(pairsOf(passed), [
          ['X-Own', 'ours'],
          ...sent.filter(
            ([name]) => !hopByHop.test(name) && !/^x-own$/i.test(name) && !dropped.has(name.toLowerCase()),
          ),
        ]);
      }),
    );
  });
});
