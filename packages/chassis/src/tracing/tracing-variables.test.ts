import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { loadConfig } from '../config/load-config.ts';
import { StartupError } from '../startup-error.ts';
import { exporterSettings, tracingVariables } from './tracing-variables.ts';

const load = (environment: Record<string, string>) => loadConfig(z.object(tracingVariables()), environment);
const settings = (environment: Record<string, string>) => exporterSettings(load(environment));

describe('tracing variables', () => {
  it('turn tracing off without an endpoint or with OTEL_SDK_DISABLED', () => {
    assert.equal(settings({}), undefined);
    assert.equal(
      settings({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318', OTEL_SDK_DISABLED: 'true' }),
      undefined,
    );
  });

  it('post spans below the base URL, or to the URL for traces as it is', () => {
    const url = (environment: Record<string, string>) => settings(environment)?.url;
    assert.equal(
      url({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }),
      'http://collector:4318/v1/traces',
    );
    assert.equal(
      url({ OTEL_EXPORTER_OTLP_ENDPOINT: 'https://c.test/otlp/' }),
      'https://c.test/otlp/v1/traces',
    );
    assert.equal(
      url({
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://other:4318',
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://collector:4318/custom',
      }),
      'http://collector:4318/custom',
    );
  });

  it('prefer the variables for traces', () => {
    assert.deepEqual(
      settings({
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
        OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20a%3Db, x-tenant=7',
        OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'x-tenant=8',
        OTEL_EXPORTER_OTLP_TIMEOUT: '5000',
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: '2000',
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
      }),
      {
        url: 'http://collector:4318/v1/traces',
        protocol: 'http/json',
        headers: { authorization: 'Bearer a=b', 'x-tenant': '8' },
        timeoutMs: 2000,
      },
    );
  });

  it('report each invalid variable in one line without its value, with exit code 78', () => {
    for (const [name, value, reason] of [
      ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318', /must be an http:\/\/ or https:\/\/ URL/],
      [
        'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
        'grpc://collector:4317',
        /must be an http:\/\/ or https:\/\/ URL/,
      ],
      ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc', /must be http\/protobuf or http\/json/],
      ['OTEL_EXPORTER_OTLP_HEADERS', 'secret', /name=value pairs/],
      ['OTEL_EXPORTER_OTLP_HEADERS', 'x-a=%0d%0ainjected', /name=value pairs/],
      ['OTEL_EXPORTER_OTLP_HEADERS', 'x-a=%', /name=value pairs/],
      ['OTEL_EXPORTER_OTLP_TIMEOUT', '10s', /whole number/],
      ['OTEL_TRACES_SAMPLER', 'sometimes', /must be one of always_on, /],
      ['OTEL_TRACES_SAMPLER_ARG', '10%', /must be a number from 0 to 1/],
      ['OTEL_TRACES_SAMPLER_ARG', '1.5', /must be a number from 0 to 1/],
      ['OTEL_RESOURCE_ATTRIBUTES', 'k8s.pod.name', /name=value pairs/],
      ['OTEL_BSP_MAX_QUEUE_SIZE', '0', /whole number/],
    ] as const)
      assert.throws(
        () => load({ [name]: value }),
        (error) => {
          assert.ok(error instanceof StartupError);
          assert.equal(error.exitCode, 78);
          const [, ...lines] = error.message.split('\n');
          assert.equal(lines.length, 1, error.message);
          assert.match(lines[0] ?? '', new RegExp(`^  ${name} `));
          assert.match(lines[0] ?? '', reason);
          if (name.endsWith('HEADERS')) assert.doesNotMatch(error.message, new RegExp(`${value}$`));
          return true;
        },
      );
  });

  it('accept numbers from 0 to 1 as the ratio, and reject a ratio for samplers without one', () => {
    const sampler = { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio' };
    for (const value of ['0', '1', '0.1', '.25', '1.0', '0.001'])
      assert.equal(
        load({ ...sampler, OTEL_TRACES_SAMPLER_ARG: value }).OTEL_TRACES_SAMPLER_ARG,
        Number(value),
      );
    assert.throws(() => settings({ OTEL_TRACES_SAMPLER_ARG: '0.1' }), {
      name: 'StartupError',
      exitCode: 78,
      message: /^OTEL_TRACES_SAMPLER_ARG .*OTEL_TRACES_SAMPLER=parentbased_traceidratio.*$/,
    });
  });
});
