import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isUntrusted } from './untrusted-headers.ts';

const lies = [
  ...['x-user-id', 'x-user-role', 'remote-user', 'x-auth-request-email', 'x-consumer-id', 'x-real-ip'],
  ...['x-http-method-override', 'x-original-url', 'x-ssl-client-cert', 'impersonate-group', 'x-remote-group'],
];

describe('headers that are not for clients to say', () => {
  it('are known however their words are joined', () => {
    const joined = fc
      .constantFrom(...lies)
      .chain((name) =>
        fc
          .array(fc.constantFrom('-', '_'), { minLength: 8, maxLength: 8 })
          .map((joints) => name.replaceAll('-', () => joints.pop() ?? '-')),
      );
    fc.assert(fc.property(joined, (name) => isUntrusted(name)));
  });

  it('are those that the gateway reads itself, when they are spelt in another way', () => {
    for (const name of [
      'x_forwarded_for',
      'x-forwarded_host',
      'content_length',
      'transfer_encoding',
      'x-request_timeout-ms',
    ])
      assert.equal(isUntrusted(name), true, name);
  });

  it('are not others, and not all that begin like them', () => {
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
