import { isSampled, traceIdOf } from './traceparent.ts';

/** Values of OTEL_TRACES_SAMPLER. */
export const samplerNames = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

export type SamplerName = (typeof samplerNames)[number];

/** Decides whether a trace is recorded. @param parent `traceparent` of the parent; undefined for a new trace */
export type Sampler = (parent: string | undefined) => boolean;

/** Creates a sampler of the OpenTelemetry specification. @param ratio share of traces from 0 to 1, for the ratio samplers */
export function createSampler(name: SamplerName, ratio: number): Sampler {
  if (name === 'always_on') return () => true;
  if (name === 'always_off') return () => false;
  if (name === 'traceidratio')
    return (parent) => (parent === undefined ? Math.random() : randomnessOf(parent)) >= 1 - ratio;
  const rootRatio = { parentbased_always_on: 1, parentbased_always_off: 0, parentbased_traceidratio: ratio }[
    name
  ];
  return (parent) => (parent === undefined ? Math.random() < rootRatio : isSampled(parent));
}

/** Returns the random part of a trace id as a number from 0 to 1. All services derive the same decision from it. */
function randomnessOf(traceparent: string): number {
  return Number.parseInt(traceIdOf(traceparent).slice(-13), 16) / 2 ** 52;
}
