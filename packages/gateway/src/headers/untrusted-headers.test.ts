import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isUntrusted } from './untrusted-headers.ts';

const untrustedHeaders = [
  ...['x-user-id', 'x-user-role', 'remote-user', 'x-auth-request-email', 'x-consumer-id', 'x-real-ip'],
  ...['x-http-method-override', 'x-original-url', 'x-ssl-client-cert', 'impersonate-group', 'x-remote-group'],
];

describe('untrusted headers', () => {
  it('are recognized with any mix of hyphens and underscores', () => {
    const joined = fc
      .constantFrom(...untrustedHeaders)
      .chain((name) =>
        fc
          .array(fc.constantFrom('-', '_'), { minLength: 8, maxLength: 8 })
          .map((joints) => name.replaceAll('-', () => joints.pop() ?? '-')),
      );
    fc.assert(fc.property(joined, (name) => isUntrusted(name)));
  });

  it('include alternate spellings of headers that the gateway reads', () => {
    for (const name of [
      'x_forwarded_for',
      'x-forwarded_host',
      'content_length',
      'transfer_encoding',
      'x-request_timeout-ms',
    ])
      assert.equal(isUntrusted(name), true, name);
  });

  it('do not include other headers or headers with a similar prefix', () => {
    for (const name of [
      'accept',
      'authorization',
      'content-type',
      'x-username-hint',
      'x-forwarded-for',
      'user-agent',
      'x_my_header',
    ])
      assert.equal(isUntrusted(name), false, name);
  });
});
