import { services } from '../../../scripts/lib/services.ts';

/** Returns the options of Helm that set a value. */
export function setValue(path: string, value: unknown): string[] {
  return ['--set-json', `${path}=${JSON.stringify(value)}`];
}

/** Returns the options of Helm that install images with demo data and without authentication. */
export function setDemo(images: readonly string[]): string[] {
  return [...images, ...setValue('global.demoData', true), ...setValue('global.auth.mode', 'off')];
}

/** Returns the options of Helm that let the pods of a namespace, and no others, read the metrics of all services. */
export function setMetricsFrom(namespace: string): string[] {
  const from = [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } } }];
  return services.flatMap(({ name }) => setValue(`${name}.networkPolicy.metricsFrom`, from));
}
