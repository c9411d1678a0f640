import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { describe, it } from 'node:test';
import { Deadline } from '@zerda/chassis/deadline';
import fc from 'fast-check';
import { createAnswerFilter, passedAnswerHeaders, passedRequestHeaders } from './passed-headers.ts';

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

/** Fields, and some names for `Connection`, most of them those of fields. */
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

describe('headers of a request on its way', () => {
  it('are all there in their order and spelling, but for those of one connection and those the gateway writes', () => {
    fc.assert(
      fc.property(fieldsAndNames, ([sent, named]) => {
        const connection = named.join(', ');
        const all = [...sent, ...(connection === '' ? [] : [['Connection', connection] as const])];
        const passed = pairsOf(
          passedRequestHeaders(requestWith(all), {
            context,
            ms: 1000,
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
        const own = /^(expect|host|via|forwarded|x-forwarded-.+|x-correlation-id|x-request-timeout-ms)$/i;
        const expected = sent.filter(
          ([name]) => !hopByHop.test(name) && !own.test(name) && !dropped.has(name.toLowerCase()),
        );
        assert.deepEqual(
          passed.filter(([name]) => !own.test(name)),
          expected,
        );
        assert.equal(passed.filter(([name]) => name === 'via').length, 1);
        assert.ok(passed.every(([name]) => !hopByHop.test(name) && !/^x-forwarded-/i.test(name)));
      }),
    );
  });

  it('are told apart when there are more names than are remembered', () => {
    const passed = (name: string) =>
      passedRequestHeaders(requestWith([[name, 'x']]), {
        ...{ context, ms: 1, forwardedHeaders: () => [], keepHost: false },
      }).includes(name);
    for (let index = 0; index < 3000; index += 1) assert.equal(passed(`X-Name-${index}`), true);
    for (const name of ['X-Consumer-4711', 'X-consumer-4711', 'TE', 'x-forwarded-for'])
      assert.equal(passed(name), false, name);
  });

  it('carry the host of the caller only where the route says so', () => {
    const request = requestWith([['Host', 'shop.test']]);
    const host = (keepHost: boolean) =>
      pairsOf(passedRequestHeaders(request, { context, ms: 1, forwardedHeaders: () => [], keepHost })).find(
        ([name]) => name.toLowerCase() === 'host',
      )?.[1];
    assert.equal(host(true), 'shop.test');
    assert.equal(host(false), undefined);
  });
});

describe('headers of an answer on its way back', () => {
  it('are all there in their order, but for those of one connection and those the gateway has set', () => {
    fc.assert(
      fc.property(fieldsAndNames, ([sent, named]) => {
        const all = [...sent, ...named.map((name) => ['Connection', name] as const)];
        const raw = all.flat().map((text) => Buffer.from(text, 'latin1'));
        const passed = passedAnswerHeaders(raw, createAnswerFilter(new Set(['x-own'])), ['X-Own', 'ours']);
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
