import { relative } from 'node:path';
import { secretsFile } from './own-secrets.ts';
import type { ServicePlan, SystemPlan } from './services.ts';

export interface BannerOptions {
  readonly plan: SystemPlan;
  /** From the command to the last service being ready, in milliseconds. */
  readonly startedInMs: number;
}

/** What a person sees once the system is ready: where it is, what to try, how to end it, what is for trying only. */
export function banner({ plan, startedInMs }: BannerOptions): string {
  const gateway = plan.services.find(({ name }) => name === 'gateway');
  const embedded = plan.services.filter((service) => service.embedded);
  const inside = relative(process.cwd(), plan.dataDir);
  const folder = inside.startsWith('..') ? plan.dataDir : inside || '.';
  const admin = plan.services.find(({ env }) => env.AUTH === 'required')?.env.AUTH_ADMIN_EMAIL;
  return [
    '',
    `zerda is ready in ${(startedInMs / 1000).toFixed(1)} s`,
    '',
    ...plan.services.map(addresses),
    '',
    `  Try      curl ${gateway?.url}/api/dashboard`,
    `  Explore  ${gateway?.url}/docs`,
    ...(admin ? [`  Log in   as ${admin}, with the AUTH_ADMIN_PASSWORD of ${secretsFile(folder)}`] : []),
    '  Stop     Ctrl-C',
    ...(embedded.length > 0 ? [`  Reset    npm run reset   (data is kept in ${folder})`] : []),
    '',
    `  For trying out only: ${demoParts(embedded, plan).join('; ')}.`,
    '',
  ].join('\n');
}

function addresses({ name, url, managementUrl }: ServicePlan): string {
  return `  ${name.padEnd(14)} ${url.padEnd(24)} management ${managementUrl}`;
}

function demoParts(embedded: readonly ServicePlan[], plan: SystemPlan): string[] {
  const names = embedded.map(({ name }) => name).join(' and ');
  return [
    ...(names
      ? [`embedded database (${names}; PostgreSQL by ZERDA_USER_DATABASE_URL, ZERDA_ORDER_DATABASE_URL)`]
      : []),
    ...(plan.services.some(({ env }) => env.AUTH === 'off') ? ['authentication off (AUTH=required)'] : []),
  ];
}
